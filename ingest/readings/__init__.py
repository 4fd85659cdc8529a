"""What measures are given to read besides activations: circuits, answers, gradients, a run's history."""

"""What one update of one run takes: arithmetic, and memory for activations. Imports no torch."""

from ingest.train.spec import TrainSpec

# a product is computed once forward, and once each for the gradients of its two factors
PASSES = 3
FLOPS_PER_PRODUCT = 2


def update_flops(spec: TrainSpec) -> float:
    """Floating-point operations of the matrix products of one update.

    As trained: the last layer at the positions the loss reads; before the first layer, queries, keys and
    values once per token and position where that is fewer than the examples have.
    """
    layout, task = spec.layout(), spec.make_task()
    n_examples, n_read = examples_of(spec), len(task.read_positions)
    products = n_examples * n_read * layout.d_model * layout.n_outputs
    attention = layout.d_model * layout.n_heads * layout.d_head
    for layer in range(layout.n_layers):
        last = layer == layout.n_layers - 1
        queries = n_examples * (n_read if last else layout.n_positions)
        n_keys = task.read_positions[-1] + 1 if last else layout.n_positions
        products += queries * (attention + 2 * layout.d_model * layout.d_mlp)  # W_O, W_in, W_out
        products += queries * n_keys * layout.n_heads * layout.d_head * 2  # scores and mixing
        looked_up = layer == 0 and layout.n_tokens < n_examples
        if looked_up:
            products += 3 * layout.n_tokens * layout.n_positions * attention
        else:
            products += (queries + 2 * n_examples * n_keys) * attention
    return float(FLOPS_PER_PRODUCT * PASSES * products)


def widest_activation(spec: TrainSpec) -> int:
    """Numbers in the largest tensor between two products: what should stay in a processor's cache."""
    layout, task = spec.layout(), spec.make_task()
    n_read = len(task.read_positions)
    n_queries = layout.n_positions if layout.n_layers > 1 else n_read
    per_query = max(layout.d_mlp, layout.d_model, layout.n_heads * layout.n_positions)
    return examples_of(spec) * max(n_queries * per_query, n_read * layout.n_outputs)


def activation_bytes(spec: TrainSpec) -> float:
    """Memory that one run's activations take until the backward pass is through, roughly."""
    layout, task = spec.layout(), spec.make_task()
    n_examples, n_read = examples_of(spec), len(task.read_positions)
    per_query = 8 * layout.d_model + 3 * layout.d_mlp + 4 * layout.n_heads * layout.n_positions
    # the last layer works only where the loss reads
    n_queries = n_read + layout.n_positions * max(0, layout.n_layers - 1)
    keys_and_values = layout.n_layers * layout.n_positions * 4 * layout.d_model
    inside = n_examples * (n_queries * per_query + keys_and_values)
    logits = n_examples * n_read * layout.n_outputs * 4  # with log-softmax and its gradient, of loss_dtype
    number_bytes = {"float32": 4, "float64": 8}
    return float(inside * number_bytes[spec.dtype] + logits * number_bytes[spec.loss_dtype])


def examples_of(spec: TrainSpec) -> int:
    """Examples one update sees."""
    n = spec.batch if spec.batch is not None else spec.make_task().n_train
    assert n is not None  # TrainSpec checks
    return n

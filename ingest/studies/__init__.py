"""Study files: what to train or load, what to measure, where, at what cost. Imports no torch."""

"""What is in the archive, chosen and read: runs, quantities, checkpoints, curves, tables of items and heads."""

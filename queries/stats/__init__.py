"""Pure NumPy and SciPy: arrays in, numbers with intervals out. Knows no archive and no measure."""

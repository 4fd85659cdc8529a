"""One file per measure, two halves each: a thin registered function and the mathematics as a pure one."""

"""The catalogue of open problems: what each asks, which questions answer it, and what they need. One file a group."""

"""Sections of the Benchmarks page."""

"""Sections of the Grokking page."""

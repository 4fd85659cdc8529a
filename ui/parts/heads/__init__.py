"""Sections of the Heads page."""

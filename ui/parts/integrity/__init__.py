"""Sections of the Integrity page."""

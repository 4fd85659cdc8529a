"""Sections of the Search page."""

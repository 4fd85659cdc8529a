"""Sections of the Transitions page."""

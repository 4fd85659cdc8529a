"""Sections of the Sizes page."""

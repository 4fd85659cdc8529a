"""Sections of the SQL page."""

"""Sections of the Seeds page."""

"""Sections of the Sources page."""

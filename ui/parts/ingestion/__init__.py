"""Sections of the Ingest page."""

"""Families of runs, one file each; `ingest.family` says what a family is."""

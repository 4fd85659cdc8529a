"""Published results become rows: a small framework and one file per format."""

"""Answers as plotly figures: pure functions of an answer."""

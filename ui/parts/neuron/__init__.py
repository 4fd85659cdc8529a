"""Sections of the Neuron page."""

"""What is left to do: cells wanted, cells present, and what the difference costs. Imports no torch."""

"""What the Grokking page shows, worked out without Streamlit."""

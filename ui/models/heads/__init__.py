"""What the Heads page shows, worked out without Streamlit."""

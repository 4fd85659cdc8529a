"""What the Questions page shows, worked out without Streamlit."""

"""What the Search page shows, worked out without Streamlit."""

"""What the Curves page shows, worked out without Streamlit."""

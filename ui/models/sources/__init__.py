"""What the Sources page shows, worked out without Streamlit."""

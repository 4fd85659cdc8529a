"""What the Integrity page shows, worked out without Streamlit."""

"""What the Seeds page shows, worked out without Streamlit."""

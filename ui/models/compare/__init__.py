"""What the Compare page shows, worked out without Streamlit."""

"""What the Transitions page shows, worked out without Streamlit."""

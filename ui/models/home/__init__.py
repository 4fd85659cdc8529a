"""What the Home page shows, worked out without Streamlit."""

"""What the SQL page shows, worked out without Streamlit."""

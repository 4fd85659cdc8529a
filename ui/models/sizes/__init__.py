"""What the Sizes page shows, worked out without Streamlit."""

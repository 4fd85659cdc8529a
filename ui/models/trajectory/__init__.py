"""What the Trajectory page shows, worked out without Streamlit."""

"""What pages show, worked out without Streamlit, so that it can be tested without a browser."""

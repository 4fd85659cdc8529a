"""What the Benchmarks page shows, worked out without Streamlit."""

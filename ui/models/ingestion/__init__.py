"""What the Ingest page shows, worked out without Streamlit."""

"""What the Neuron page shows, worked out without Streamlit."""

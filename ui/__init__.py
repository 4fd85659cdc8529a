"""The explorer: Streamlit pages over `queries`. Never writes."""

PART_OF = "pathscope"

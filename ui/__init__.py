"""Search by image: the Streamlit page and `cbir-search`."""

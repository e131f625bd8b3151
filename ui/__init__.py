"""Search by a picture: the Streamlit page and the terminal."""

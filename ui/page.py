"""The script that Streamlit runs, outside of any package, for every change on the page."""

from cbir.ui.search_page import render

render()

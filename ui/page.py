"""The script that Streamlit runs, outside of any package, for every change on a page."""

from .site import render

render()

"""The script that Streamlit runs, outside of any package, for every change on a page.

It lies apart from `pages/`: Streamlit takes a folder of that name beside its script for the site's pages.
"""

from cbir.ui.site import render

render()

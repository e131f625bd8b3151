"""The script that Streamlit runs for every change on a page; it belongs to no package.

It is not beside the folder `pages/`, because Streamlit would serve the modules in it as pages of the site.
"""

from cbir.ui.site import render

render()

"""`cbir-serve`: searches and changes over HTTP."""

"""Image sources to vectors and payload in every store."""

"""How fast image files become vectors: the ingest, its bounds, and other libraries. Measured by two subjects."""

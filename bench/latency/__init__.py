"""How fast the stores search."""

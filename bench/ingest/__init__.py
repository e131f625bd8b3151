"""How fast images are embedded and stored."""

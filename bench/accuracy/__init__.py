"""How accurate each backbone is."""

"""How fast each model is."""

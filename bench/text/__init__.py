"""How well words find images, and name them."""

"""Training of heads and backbones."""

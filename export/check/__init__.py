"""Comparison of exported files with the backbone in torch."""

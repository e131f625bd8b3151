"""Checks and comparisons of model files."""

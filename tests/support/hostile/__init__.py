"""Hostile image files, made when the tests run, with the expected outcome of each."""

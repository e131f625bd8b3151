"""Searching any store: examples, diversity, groups, duplicates, score calibration, projection."""

"""What can be asked of any store: examples, diversity, groups, duplicates, score calibration, projection."""

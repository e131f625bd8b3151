"""Filters on payload fields: parsing, evaluation and translation for an engine."""

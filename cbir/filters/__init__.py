"""Filters on payload fields: parsed, evaluated, and translated for an engine."""

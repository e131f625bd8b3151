"""Retrieval metrics that the page and the bench share."""

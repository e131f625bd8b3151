"""Tests of `cbir-bench text`."""

"""Vectors, exact neighbours and results as files of other benchmarks."""

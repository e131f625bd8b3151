"""Trainings of whole networks, which `cbir-export train` keeps."""

"""Engines in this process: Edge and FAISS on one vector log."""

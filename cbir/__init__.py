"""The ground floor of cbir: images, the embedder, records, stores, sources, settings and errors."""

from importlib.metadata import version

__version__ = version("cbir")

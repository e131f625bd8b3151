"""The ground floor of cbir: images, the embedder, records, stores, sources, settings and errors."""

__version__: str


def __getattr__(name: str) -> str:
    """Return `__version__`, looked up only when asked for: it takes as long as all of typer's import."""
    if name == "__version__":
        from importlib.metadata import version

        return version("cbir")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

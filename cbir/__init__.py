"""Find images that look like a given image.

Example:
    >>> photos = cbir.open("./index")
    >>> hits = photos.search("query.png", limit=5)
    >>> hits[0].key, round(hits[0].score, 2)
    ('1F600', 1.0)
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cbir.collection import Collection
    from cbir.errors import CbirError, DamageError, DiskFullError, ImageError, UsageError
    from cbir.models.embedder import Embedder
    from cbir.opening import collections, drop, open
    from cbir.pipeline.report import IngestReport
    from cbir.pipeline.run import Policy
    from cbir.results import Hit, HitGroup, Hits, StoredImage
    from cbir.search.zero_shot import ZeroShotLabel
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions
    from cbir.stores.listing import CollectionInfo

    __version__: str

_HOMES = {
    "cbir.collection": ("Collection",),
    "cbir.opening": ("collections", "drop", "open"),
    "cbir.errors": ("CbirError", "DamageError", "DiskFullError", "ImageError", "UsageError"),
    "cbir.models.embedder": ("Embedder",),
    "cbir.pipeline.report": ("IngestReport",),
    "cbir.results": ("Hit", "HitGroup", "Hits", "StoredImage"),
    "cbir.pipeline.run": ("Policy",),
    "cbir.search.zero_shot": ("ZeroShotLabel",),
    "cbir.settings": ("Settings",),
    "cbir.sources.base": ("SourceOptions",),
    "cbir.stores.listing": ("CollectionInfo",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CbirError",
    "Collection",
    "CollectionInfo",
    "DamageError",
    "DiskFullError",
    "Embedder",
    "Hit",
    "HitGroup",
    "Hits",
    "ImageError",
    "IngestReport",
    "Policy",
    "Settings",
    "SourceOptions",
    "StoredImage",
    "UsageError",
    "ZeroShotLabel",
    "collections",
    "drop",
    "open",
]


logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library prints nothing by itself


if not TYPE_CHECKING:  # a type checker knows each name from the imports above

    def __getattr__(name: str) -> Any:
        """Return a public name from its module, imported at the first use: `import cbir` loads nothing else."""
        if name == "__version__":
            from importlib.metadata import version

            return version("cbir")
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

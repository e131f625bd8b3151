"""The model files of a server: packaged ones, those of its collections, and those that clients sent."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cbir.errors import CbirError
from cbir.models.card import ModelRef
from cbir.models.received import ReceivedModels
from cbir.models.sealed import find_unchanged
from cbir.stores.base import Catalog


class ModelFiles:
    """Finds the file of a model."""

    def __init__(self, catalogs: Sequence[Catalog], cache: Path):
        self._catalogs = catalogs
        self.received = ReceivedModels(cache)

    def find(self, model: ModelRef) -> Path | None:
        """Return an undamaged file of a model, or None."""
        return find_unchanged(model, self.received.path(model.sha256, "model")) or self.with_checksum(model.sha256)

    def with_checksum(self, sha256: str) -> Path | None:
        """Return the file of the model with this checksum if a collection was made with it, or None."""
        for catalog in self._catalogs:
            for info in catalog.listing() if catalog.keeps_model else ():
                if info.made_by is not None and info.made_by.sha256 == sha256:
                    with suppress(CbirError):  # it may be unfinished or damaged
                        return catalog.records(info.collection).model()
        return None

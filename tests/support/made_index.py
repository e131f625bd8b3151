"""An index folder of made-up points, as the commands on whole collections are tested with."""

import subprocess
from pathlib import Path

from cbir.settings import Settings
from cbir.stores.base import Store
from cbir.stores.listing import CollectionInfo
from cbir.stores.registry import connect, open_store
from tests.support.building import unit_vectors

VECTORS = unit_vectors(300)


def copy_index(index: Path, target: Path) -> Path:
    """Copy an index folder, so that a test may change it, and return the copy."""
    subprocess.run(["/bin/cp", "-a", index, target], check=True)  # Edge's files stay sparse
    return target


def listed(root: Path) -> list[CollectionInfo]:
    """Return the collections of an index folder."""
    return list(connect(f"edge:{root}", Settings()).listing())


def opened(root: Path, name: str = "made", kind: str = "edge") -> Store:
    """Return an open collection; `kind` is "edge" or the name of a FAISS index."""
    return open_store(f"edge:{root}" if kind == "edge" else f"faiss:{root}/{kind}", name, Settings())


def everything(root: Path, name: str, kind: str = "edge") -> dict[str, tuple[object, ...]]:
    """Return all that is stored of each point, by id."""
    store = opened(root, name, kind)
    found = {
        point.id: (dict(point.payload), point.version, point.thumbnail, point.digest, point.vector.tobytes())
        for point in store.points()
    }
    store.close()
    return found

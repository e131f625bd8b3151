"""The ingest command and what it stored, for tests of every step of it."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.ingest import command

from cbir.models.embedder import Embedder
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import DEFAULT_POLICY, Policy, ingest
from cbir.records import Point
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.base import SearchParams
from cbir.stores.registry import open_store
from tests.support.building import both, catalogs, store_options
from tests.support.running import run_here

COMMAND = [sys.executable, "-m", "cbir.ingest.command"]
SYNC = Policy(remove_missing=True)


def some_images(image_folder: Path, target: Path, count: int) -> Path:
    """Copy some of the images into a new folder that a test may change, and return it."""
    paths = sorted(image_folder.rglob("*.png"))
    for path in paths[:: len(paths) // count][:count]:
        copy = target / path.relative_to(image_folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return target


def run(*arguments: object, code: int = 0, own_process: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run the command here, or, where a test is about that, in a process of its own."""
    if own_process:
        done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    else:
        done = run_here(command.main, "cbir-ingest", *arguments)
    assert done.returncode == code, f"exit code {done.returncode}: {done.stderr}{done.stdout}"
    assert "Traceback" not in done.stderr
    return done


def stores(root: Path) -> list[str]:
    """Return the options that name the two usual stores of an index folder."""
    return store_options(both(root))


def stored(root: Path, collection: str | None = None) -> dict[str, tuple[dict[str, Any], np.ndarray]]:
    """Return every point of an index: key -> (payload, vector); Edge and FAISS must answer alike."""
    edge, flat = (open_store(url, collection, Settings()) for url in both(root))
    ids, vectors = edge.matrix()
    found = {}
    for identity, vector in zip(ids, vectors, strict=True):
        hits = [store.search(vector[None], 1, params=SearchParams(exact=True))[0][0] for store in (edge, flat)]
        assert abs(hits[0].score - hits[1].score) < 1e-4
        nearest = edge.search(vector[None], 5, params=SearchParams(exact=True))[0]
        hit = next(hit for hit in nearest if hit.id == identity)
        found[hit.key] = (dict(hit.payload), vector)
    edge.close()
    flat.close()
    return found


def sync(photos: Path, model_file: Path, policy: Policy = SYNC, **settings: Any) -> IngestReport:
    """Keep the FAISS index beside a folder in step with it."""
    source = open_source(str(photos), SourceOptions())
    return ingest(source, catalogs(f"faiss:{photos.parent}/index"), model_file, Settings(**settings), policy=policy)


def fill(
    photos: Path, model_file: Path, urls: Sequence[str], name: str, policy: Policy = DEFAULT_POLICY
) -> IngestReport:
    """Ingest a folder into a collection of every store."""
    source = open_source(str(photos), SourceOptions())
    return ingest(source, catalogs(*urls), model_file, Settings(), name, policy=policy)


def points_by_key(url: str, name: str) -> dict[str, Point]:
    """Return the points of a collection by their keys."""
    with closing(open_store(url, name, Settings())) as store:
        return {str(point.payload["key"]): point for point in store.points()}


def count_embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the number of images of each run of the model is added from now on."""
    embedded: list[int] = []
    run_model = Embedder.run
    monkeypatch.setattr(
        Embedder, "run", lambda self, pixels: (embedded.append(len(pixels)), run_model(self, pixels))[1]
    )
    return embedded


def stored_keys(photos: Path) -> set[str]:
    """Return the keys in the index beside a folder; log and index must agree."""
    store = open_store(f"faiss:{photos.parent}/index", None, Settings())
    found = {str(point.payload["key"]) for point in store.points()}
    hits = store.search(store.matrix()[1][:1], 50)[0]
    store.close()
    assert {hit.key for hit in hits} == found, "the index holds other points than the log"
    return found


def files(photos: Path) -> list[Path]:
    """Return the images of a folder, in order."""
    return sorted(photos.rglob("*.png"))


def file_keys(photos: Path) -> set[str]:
    """Return the keys that the images of a folder have."""
    return {path.relative_to(photos).as_posix() for path in files(photos)}

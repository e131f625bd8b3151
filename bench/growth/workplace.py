"""The collection that the changes are made to: built at once, and copied for each measurement."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cbir
from cbir.collection import Collection
from cbir.errors import CbirError
from cbir.index import layout
from cbir.index.files import files_below, link
from cbir.index.generation import NUMBER
from cbir.progress import Advance
from cbir.settings import Settings
from cbir.stores.url import split
from cbir.text import one_line

from ..core.measured_process import MeasuredProcess, run_process
from .made_up import COLLECTION, fill, write_fast_model

_INGEST = (sys.executable, "-m", "cbir.ingest.command")


class Spent(NamedTuple):
    """Seconds by the clock, and those of processors."""

    seconds: float
    core_seconds: float


class Workplace:
    """A folder with a collection of clustered vectors that was built at once, and with copies of it."""

    def __init__(self, root: Path, engines: Sequence[str], points: int, dimension: int, advance: Advance):
        """Build the collection; `engines` are schemes of store URLs with their options, such as faiss?index=Flat.

        One that an earlier run has built below the folder `root` is used again.
        """
        names = (re.sub(r"\W", "_", engine) for engine in engines)
        folder = root / "-".join([str(points), str(dimension), *names])
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.points, self.settings = folder, points, Settings()
        self.size = f"{points:,} x {dimension:,}"
        self.model = write_fast_model(folder, dimension)
        self._engines, self._copies = engines, 0
        if (folder / "base" / COLLECTION / layout.POINTER).is_file():
            advance(points)
        else:
            shutil.rmtree(folder / "base", ignore_errors=True)
            fill(self.urls(folder / "base"), points, self.model, self.settings, advance)

    def urls(self, root: Path) -> list[str]:
        """Return the URLs of the stores in an index folder."""
        found = []
        for number, engine in enumerate(self._engines):
            scheme, _, options = engine.partition("?")
            name = f"/{scheme}{number}" if number else ""
            found.append(f"{scheme}:{root}{name}" + (f"?{options}" if options else ""))
        return found

    def copy(self) -> Path:
        """Return a new index folder with the collection. The published files, which never change, are links."""
        base, target = self.folder / "base", self.empty()
        for path in files_below(base):
            relative = path.relative_to(base)
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            published = any(map(NUMBER.fullmatch, relative.parts))
            (link if published else shutil.copyfile)(path, target / relative)
        return target

    def empty(self) -> Path:
        """Return the path of a new index folder."""
        self._copies += 1
        path = self.folder / f"index{self._copies}"
        shutil.rmtree(path, ignore_errors=True)
        return path

    def open(self, root: Path, *urls: str) -> Collection:
        """Open the collection in an index folder: with all stores, or with these."""
        return cbir.open(urls or self.urls(root), COLLECTION, model=self.model, settings=self.settings)

    def command(self, root: Path, *words: object) -> Spent:
        """Run a command of `cbir-ingest` that changes the collection in an index folder; return its time."""
        return _run([*map(str, words), "--collection", COLLECTION, *self._stores(root)])

    def build_fresh(self, root: Path) -> Path:
        """Copy the points of the collection in an index folder into a new one, and return that."""
        target = self.empty()
        _run(["copy", self.urls(root)[0], *self.urls(target), "--collection", COLLECTION])
        return target

    def ingest(self, root: Path, words: Sequence[str]) -> MeasuredProcess:
        """Run `cbir-ingest add` into an index folder, and measure it."""
        return run_process("the ingest", [*_INGEST, "add", *words, *self._stores(root), "--json"])

    @cached_property
    def rebuild(self) -> Spent:
        """The time of the command that builds all engines of the collection again."""
        root = self.copy()
        spent = self.command(root, "reindex")
        shutil.rmtree(root)
        return spent

    def _stores(self, root: Path) -> list[str]:
        return [word for url in self.urls(root) for word in ("--store", url)]


def _run(words: Sequence[str]) -> Spent:
    start, core = time.perf_counter(), _core_seconds()
    done = subprocess.run([*_INGEST, *words], capture_output=True, text=True)
    spent = Spent(time.perf_counter() - start, _core_seconds() - core)
    if done.returncode:
        raise CbirError(f"cbir-ingest {words[0]} failed: {one_line(done.stderr.strip().splitlines()[-1])}")
    return spent


def _core_seconds() -> float:
    """Return the processor time of all processes that this one has started and that have ended."""
    return sum(os.times()[2:4])


def name_of(url: str) -> str:
    """Return the engine of a store URL with its options, such as "faiss index=HNSW16"."""
    scheme, _, options = split(url)
    return f"{scheme} {options}".rstrip()

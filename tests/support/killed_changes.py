"""Kills a process that changes a collection, again and again at a random line, and compares what is left.

    python -m tests.support.killed_changes FOLDER KILLS SEED [edge]

Every change, and every look at what is left, is a forked process: engines and their threads are in these alone. A kill
is followed by changes that are not disturbed. Prints the kills by function, the number of changes, and what was wrong.
"""

import json
import os
import pickle
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import FrameType

import numpy as np

from cbir.index import files, json_file, layout, log_writer, publishing
from cbir.index.generation import Plan, open_generation
from cbir.models.card import ModelRef
from cbir.models.sealed import checksum_of
from cbir.progress import silent
from cbir.records import Point, with_changes
from cbir.settings import Settings
from cbir.stores.base import SearchParams
from cbir.stores.embedded import making, writer
from cbir.stores.embedded.catalog import EmbeddedCatalog
from cbir.stores.engines import ENGINES
from cbir.stores.registry import connect, connect_all
from tests.support.building import DIMENSION, TINY_MODEL, both, build_here, points_of, unit_vectors
from tests.support.signal_point import stopped

SETTINGS = Settings()
COUNT = 80
VECTORS = unit_vectors(COUNT)
PLAN = Plan("made", "set", "nowhere", ModelRef("made-up", checksum_of(TINY_MODEL), DIMENSION, 1, True), None)
IDS = [point.id for point in points_of(VECTORS)]
QUERIES = unit_vectors(3, seed=9)
KINDS = ("add", "add", "delete", "update", "update", "merge", "merge", "rebuild")
WRITING = tuple(str(module.__file__) for module in (files, json_file, log_writer, making, publishing, writer))
"""The modules that change what is on the disk: the process is killed in one of their lines."""

FILES = {layout.POINTER, layout.PLAN, layout.LOCK, layout.MERGE_LOCK, layout.POINTER_LOCK}

State = Mapping[str, Point | None]
"""Points by id; None for a point that is not there."""

Contents = dict[str, bytes]
"""The bytes of all points by id."""


@dataclass(frozen=True)
class Change:
    """Something that is done to a collection. `version` tells its points from those of other changes."""

    kind: str
    numbers: Sequence[int] = ()
    version: str = ""

    def of(self, point_id: str, before: Point | None) -> Point | None:
        """Return the point after the change, which was `before`."""
        if point_id not in {IDS[number] for number in self.numbers}:
            return before
        if self.kind in ("update", "rebuild"):
            return before and with_changes(before, {"label": f"class {self.version}"})
        return self.points[point_id] if self.kind == "add" else None

    @cached_property
    def points(self) -> dict[str, Point]:
        """The points that it adds or replaces."""
        vectors = unit_vectors(COUNT, seed=int(self.version))
        made = [replace(point, version=self.version) for point in points_of(vectors, self.version)]
        return {made[number].id: made[number] for number in self.numbers}

    def apply(self, catalog: EmbeddedCatalog, say: Callable[[bytes], object]) -> None:
        """Make the change; say when it is written, and when it is published."""
        if self.kind == "merge":
            catalog.optimize("made")
            return
        ids = [IDS[number] for number in self.numbers]
        with closing(
            catalog.writer(PLAN, catalog.root.with_name("model.onnx"), rebuild=self.kind == "rebuild")
        ) as opened_writer:
            if self.kind == "add":
                for start in range(0, len(ids), 5):
                    opened_writer.write([self.points[point_id] for point_id in ids[start : start + 5]])
            elif self.kind == "delete":
                opened_writer.delete(ids)
            else:
                opened_writer.update(ids, {"label": f"class {self.version}"})
            opened_writer.flush()
            say(b"w")
            if opened_writer.needs_publishing:
                opened_writer.publish(silent)
            say(b"p")


def forked(work: Callable[[Callable[[bytes], object]], object]) -> tuple[bytes, int]:
    """Return what a forked process said, and its exit code, negative if it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(lambda data: os.write(writer, data))
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        data = said.read()
    return data, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def opened(url: str) -> EmbeddedCatalog:
    catalog = connect(url, SETTINGS)
    assert isinstance(catalog, EmbeddedCatalog)
    return catalog


def as_bytes(point: Point) -> bytes:
    return repr((point.vector.tobytes(), sorted(point.payload.items()), point.thumbnail, point.version)).encode()


def contents(catalog: EmbeddedCatalog, complaints: list[str]) -> Contents:
    """Return the points that a new reader sees, after a comparison of its exact search with brute force."""
    with closing(catalog.open("made")) as store:
        points = list(store.points())
        vectors = np.array([point.vector for point in points])
        for hits, scores in zip(
            store.search(QUERIES, 5, params=SearchParams(exact=True)), QUERIES @ vectors.T, strict=True
        ):
            if not np.allclose([hit.score for hit in hits], np.sort(scores)[::-1][:5], atol=1e-5):
                complaints.append("exact search differs from brute force")
        if store.count() != len(points) or len({point.id for point in points}) != len(points):
            complaints.append("the count is not the number of points")
        return {point.id: as_bytes(point) for point in points}


def left_over(root: Path) -> Iterator[str]:
    """Yield what is on the disk, and the pointer does not name it."""
    folder, published = root / "made", open_generation(root, "made")
    number = int(published.folder.name)
    known = {*FILES, layout.TAIL, layout.BUILDING, layout.VIEWS, f"{number:06d}", f"{number - 1:06d}"}
    for path in [*folder.iterdir(), *(folder / layout.TAIL).glob("*")]:
        if path.name not in (published.tail if path.parent.name == layout.TAIL else known):
            yield f"{path.relative_to(root)} is left"


def look(root: Path, urls: Sequence[str]) -> tuple[Contents, Contents, list[str]]:
    """Return what readers see, before and after the next writer was opened, and what is wrong."""
    complaints: list[str] = []
    before = contents(opened(urls[-1]), complaints)
    catalog = opened(urls[0])
    complaints += [str(damage) for damage in catalog.verify("made")]
    with closing(catalog.writer(PLAN, catalog.root.with_name("model.onnx"))) as opened_writer:
        complaints += left_over(root)
        if (root / "made" / layout.BUILDING).exists() and not opened_writer.needs_publishing:
            complaints.append("building/ is left")
    return before, contents(catalog, complaints), complaints


def killed(call: Callable[[], None], lines: int, say: Callable[[bytes], object]) -> None:
    """Run `call`, and die after so many lines of cbir, or at its end; say in which functions, and after which line."""

    def die(frame: FrameType | None, ran: int) -> None:
        names = ["" if frame else "end"]
        while frame is not None:
            if frame.f_code.co_filename in WRITING:
                names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
            frame = frame.f_back
        say(f" {ran} {' '.join(names)}".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    stopped(call, lines, die, WRITING)


@dataclass
class Expected:
    """What readers see, and what points may become with the next change that is published."""

    seen: dict[str, Point | None]
    written: dict[str, list[Point | None]] = field(default_factory=dict)

    def after(self, change: Change) -> dict[str, list[Point | None]]:
        """Return what each point may be once the change is published."""
        before = {name: self.written.get(name, [point]) for name, point in self.seen.items()}
        return {name: [change.of(name, point) for point in points] for name, points in before.items()}

    def learn(self, change: Change, acknowledged: str, found: Contents) -> str:
        """Take what readers see after a change; return what is wrong about it, "" if nothing is."""
        allowed = self.after(change)
        if found == _contents(self.seen) and "p" not in acknowledged:
            for name, points in allowed.items():
                before = self.written.get(name, [self.seen[name]])
                if any(_named(points) != _named([point]) for point in before):
                    self.written[name] = points if "w" in acknowledged else [*before, *points]
            return ""
        named = {name: _named(points) for name, points in allowed.items()}
        wrong = [name for name in IDS if found.get(name) not in named[name]]
        if wrong or found.keys() - set(IDS):
            return f"{change.kind}, {acknowledged or 'nothing'} said: {len(wrong)} points are neither old nor new"
        self.seen, self.written = {name: named[name][found.get(name)] for name in IDS}, {}
        return ""


def _named(points: Sequence[Point | None]) -> dict[bytes | None, Point | None]:
    return {point and as_bytes(point): point for point in points}


def _contents(state: State) -> Contents:
    return {name: as_bytes(point) for name, point in state.items() if point}


@dataclass
class Killing:
    """The kills so far by function, the changes that were acknowledged, and what was wrong."""

    root: Path
    urls: Sequence[str]
    chance: random.Random
    expected: Expected
    kills: Counter[str] = field(default_factory=Counter)
    changes: int = 0
    published: int = 0
    wrong: list[str] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    def draw(self) -> Change:
        self.changes += 1
        numbers = self.chance.sample(range(COUNT), self.chance.randint(1, 20))
        kind = self.chance.choice(KINDS)
        return Change(kind, [] if kind == "merge" else numbers, str(self.changes))

    def change(self, kill: bool) -> None:
        """Make a change that is killed or not, and compare what is left."""
        change = self.draw()
        change.points  # noqa: B018
        most = self.lines.get(change.kind, 3000)
        lines = max(self.chance.randrange(most) for _ in range(2)) if kill else 0  # most steps are near the end

        def work(say: Callable[[bytes], object]) -> None:
            def call() -> None:
                change.apply(opened(self.urls[0]), say)

            killed(call, lines, say) if kill else call()

        said, code = forked(work)
        if code != (-signal.SIGKILL if kill else 0):
            raise SystemExit(f"{change.kind} failed with code {code}")
        acknowledged, *where = said.decode().split(" ")
        if kill:
            ran, end, *functions = where
            self.lines[change.kind] = int(ran) if end else most
            self.kills.update({*functions})
        self.published += "p" in acknowledged
        if not kill and not self.expected.written:
            after = {name: change.of(name, point) for name, point in self.expected.seen.items()}
            self.expected = Expected(after)
            return
        self.look(change, acknowledged, f"{change.kind} {change.version} {' '.join(where)}")

    def look(self, change: Change, acknowledged: str, when: str) -> None:
        said, code = forked(lambda say: say(pickle.dumps(look(self.root, self.urls))))
        if code:
            raise SystemExit(f"it cannot be read after {when}")
        before, after, complaints = pickle.loads(said)  # noqa: S301
        if before not in (after, _contents(self.expected.seen)):
            complaints.append("a change is seen in part")
        complaints.append(self.expected.learn(change, acknowledged, after))
        self.wrong += [f"{complaint} after {when}" for complaint in complaints if complaint]


def first(urls: Sequence[str]) -> None:
    """Make the collection, in which half of the points are."""
    (catalog,) = connect_all(urls, SETTINGS)
    assert isinstance(catalog, EmbeddedCatalog)
    model = catalog.root.with_name("model.onnx")
    model.write_bytes(TINY_MODEL)
    with closing(catalog.writer(PLAN, model)) as filled:
        filled.write(points_of(VECTORS)[: COUNT // 2])
        filled.publish(silent)


def main() -> None:
    """Change, kill, look, go on."""
    root, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    urls = both(root) if "edge" in sys.argv[4:] else [f"faiss:{root}"]
    for module in ENGINES.values():
        module.load()
    making.build_engine = build_here  # the process that is killed
    making._MOST_SEGMENTS, publishing._MOST_SEGMENTS = 4, 2  # the log and its tail are compacted now and then
    if (code := forked(lambda say: first(urls))[1]) != 0:
        raise SystemExit(f"the collection cannot be made: code {code}")
    open_generation(root, "made")  # what reads the files is made once
    seen: dict[str, Point | None] = {point.id: point for point in points_of(VECTORS)}
    killing = Killing(root, urls, random.Random(seed), Expected(seen | dict.fromkeys(IDS[COUNT // 2 :])))
    for _ in range(kills):
        for _quiet in range(killing.chance.randint(0, 2)):
            killing.change(kill=False)
        killing.change(kill=True)
        if killing.wrong:
            break
    report = {"kills": killing.kills, "published": killing.published, "wrong": killing.wrong}
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()

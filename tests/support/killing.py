"""The kill harness: an ingest is killed again and again at random points, and must end as if it never was.

A point is drawn in images, calls and lines of code (`tests.support.signal_point`), so that any machine reaches it.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cbir.records import Point
from cbir.settings import Settings
from cbir.stores.base import SearchParams
from cbir.stores.registry import open_store
from tests.support.signal_point import SignalPoint, random_lines

PHASES = ("decode", "embed", "upsert", "flush", "optimise", "publish")
OF_IMAGES = PHASES[:3]
"""Phases that count images; the others count calls."""

_CALLS_TO_PUBLISH = 6

_GIVE_UP_SECONDS = 120.0


@dataclass
class Report:
    """The kills by phase, and the number of images that were embedded again."""

    kills: Counter[str] = field(default_factory=Counter)
    embedded_again: int = 0
    most_again_a_kill: float = 0.0
    series: int = 0

    @property
    def count(self) -> int:
        """All kills."""
        return sum(self.kills.values())


@dataclass(frozen=True)
class Trial:
    """One series of kills on one collection.

    Attributes:
        arguments: Of `cbir-ingest`.
        folder: For the harness's own files.
        bug: A bug to add, "" for none.
        power_cut: After a kill, also cut off a part of what was not flushed to the disk.
        engines: The number of engines that it builds, 0 for a server.
    """

    arguments: list[str]
    folder: Path
    bug: str = ""
    power_cut: bool = False
    engines: int = 2

    @property
    def embedded(self) -> int:
        """The number of images that were embedded so far."""
        return self._sum("embedded")

    @property
    def stored(self) -> int:
        """The number of times that an image was stored so far; a kill may lose the last ones."""
        return self._sum("stored")

    def _sum(self, name: str) -> int:
        file = self.folder / name
        return sum(map(int, file.read_text().split())) if file.exists() else 0

    def run(self, phase: str | None, rng: random.Random, images: int = 1) -> bool:
        """Run the command, kill it at a random point of `phase`, and return True if it was killed.

        Args:
            phase: The phase; None not to kill it.
            rng: Draws the point.
            images: The largest number of images before it is killed, in a phase that counts images.
        """
        moment = None
        if phase is not None:
            most = images if phase in OF_IMAGES else self._calls(phase)
            moment = SignalPoint(phase, rng.randint(1, most), random_lines(rng))
        command, environment = watched(self.arguments, self.folder, moment, self.bug)
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            _, errors = process.communicate(timeout=_GIVE_UP_SECONDS)
        finally:
            process.kill()
        killed = moment is not None and process.returncode == -signal.SIGKILL
        assert killed or process.returncode == 0, f"exit code {process.returncode}: {errors}"
        if killed and self.power_cut:
            self._cut(rng)
        return killed

    def _calls(self, phase: str) -> int:
        """Return the number of calls of a phase in every run that publishes something."""
        publish = _CALLS_TO_PUBLISH if self.engines else 1
        return {"flush": 2, "optimise": 2 * self.engines, "publish": publish}[phase]

    def _cut(self, rng: random.Random) -> None:
        """Cut a part of the unflushed bytes off each log segment."""
        synced = dict(json.loads(line) for line in (self.folder / "synced").read_text().splitlines())
        for name in {*synced, *map(str, self._segments())}:
            path = Path(name)
            if path.exists() and path.stat().st_size > synced.get(name, 0):
                os.truncate(path, rng.randint(synced.get(name, 0), path.stat().st_size))

    def _segments(self) -> list[Path]:
        places = [Path(word.split(":", 1)[1]) for word in self.arguments if word.startswith("edge:")]
        return [path for place in places for path in place.glob("*/building/log/*.log")]


def watched(
    arguments: Sequence[str], folder: Path, point: SignalPoint | None, bug: str = ""
) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of an ingest that gets a signal at a point.

    Args:
        arguments: Of `cbir-ingest`.
        folder: The folder for its counts; `passed` is last written when the signal is sent.
        point: The point; None for no signal.
        bug: A bug to add, "" for none.
    """
    folder.mkdir(exist_ok=True)
    (folder / "passed").unlink(missing_ok=True)
    task = {"folder": str(folder), "bug": bug, "point": asdict(point) if point else None}
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "KILLED_INGEST": json.dumps(task)}
    return [sys.executable, "-m", "tests.support.killed_ingest", *arguments], environment


def contents(url: str, collection: str) -> dict[str, Point]:
    """Return all points of a store's collection by id; fail if a point exists twice."""
    store = open_store(url, collection, Settings())
    try:
        points = list(store.points())
        found = {point.id: point for point in points}
        assert len(found) == len(points), "a point exists twice"
        for point in points[:: max(1, len(points) // 10)]:
            (hit,) = store.search(point.vector[None], 1, params=SearchParams(exact=True))[0]
            assert hit.score > 0.9999, "a stored vector is not found in the index"
        return found
    finally:
        store.close()


def require_same(url: str, collection: str, expected: dict[str, Point]) -> None:
    """Raise `AssertionError` unless a store holds what an undisturbed run stored: ids, payloads, vectors."""
    found = contents(url, collection)
    lost, strangers = expected.keys() - found.keys(), found.keys() - expected.keys()
    assert not lost, f"{len(lost)} lost in {url}"
    assert not strangers, f"{len(strangers)} strangers in {url}"
    for identity, point in expected.items():
        other = found[identity]
        same = (dict(other.payload), other.thumbnail) == (dict(point.payload), point.thumbnail)
        assert same, f"another payload or thumbnail for {point.payload['key']}"
        assert float(np.dot(other.vector, point.vector)) >= 0.99999, f"another vector for {point.payload['key']}"


def kill_until(
    kills: int,
    trial: Callable[[int], Trial],
    check: Callable[[Trial], Any],
    images: int,
    seed: int,
    most_again: int | None,
    among: Sequence[str] = PHASES,
) -> Report:
    """Kill ingests until there were so many kills; each series is finished by an undisturbed run and then checked.

    Args:
        kills: How many at least.
        trial: Makes the trial of a series from its number.
        check: Called with the trial after its last run; raises `AssertionError` for what is wrong.
        images: The number that each run has to store.
        seed: Of the moments.
        most_again: Most images that one kill may cause to be embedded again, none of which was stored; None: not
            looked at.
        among: The phases to kill in.

    Raises:
        AssertionError: Something was lost, is there twice, is a stranger, or was embedded again too often; or the
            ingest ended before it was killed, again and again.
    """
    rng, report = random.Random(seed), Report()
    while report.count < kills:
        assert report.series < 2 * kills, f"the ingest is not killed when it should be: {report.kills}"
        series = trial(report.series)
        report.series += 1
        phases = sorted(rng.sample(among, rng.randint(min(2, len(among)), len(among))), key=PHASES.index)
        most_images = images // (1 + sum(phase in OF_IMAGES for phase in phases))  # some are left for the last phase
        killed = [phase for phase in phases if series.run(phase, rng, most_images)]
        series.run(None, rng)
        check(series)
        again = series.embedded - images
        assert again >= 0, f"{-again} images were never embedded"
        report.kills.update(killed)
        report.embedded_again += again
        report.most_again_a_kill = max(report.most_again_a_kill, again / max(1, len(killed)))
        if most_again is not None:
            twice = series.stored - images
            assert twice <= 0, f"{twice} were embedded again though they were stored"
            assert again <= most_again * len(killed), f"{again} were embedded again after {len(killed)} kills"
    return report

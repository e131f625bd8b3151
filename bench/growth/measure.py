"""The cases of `cbir-bench growth`."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from cbir.progress import Advance
from cbir.text import one_line

from .changes import Change, Commits, Pause, by_api, by_command, in_a_row, longest_pause
from .first_ingest import FirstIngest, first_ingest
from .grown import Grown, add_and_delete, change_at_random, compared_with_fresh
from .workplace import Workplace


@dataclass(frozen=True)
class GrowthOptions:
    """How much is changed: `images` are added at once by the API, and `by_command` by a command.

    `source` is what a first ingest reads; None: made-up images.
    """

    images: int
    by_command: int
    repeats: int
    commits: int
    queries: int
    source: str | None


@dataclass
class Measured:
    """The results so far, as in `GrowthResult`."""

    changes: list[Change] = field(default_factory=list)
    commits: list[Commits] = field(default_factory=list)
    grown: list[Grown] = field(default_factory=list)
    first_ingests: list[FirstIngest] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def _command(place: Workplace, options: GrowthOptions, found: Measured) -> None:
    found.changes += by_command(place, options.by_command, options.repeats)


def _api(place: Workplace, options: GrowthOptions, found: Measured) -> None:
    found.changes += by_api(place, options.images, options.repeats)


def _commits(place: Workplace, options: GrowthOptions, found: Measured) -> None:
    root = place.copy()
    with place.open(root) as photos:
        found.commits.append(in_a_row(photos, place, options.images, options.commits))
    what = f"{options.commits:,} commits"
    found.grown += compared_with_fresh(place, root, what, options.queries)
    shutil.rmtree(root)


def _search(place: Workplace, options: GrowthOptions, found: Measured) -> None:
    for change in (add_and_delete, change_at_random):
        root = place.copy()
        with place.open(root) as photos:
            what = change(photos, place.points)
        found.grown += compared_with_fresh(place, root, what, options.queries)
        shutil.rmtree(root)


def _pause(place: Workplace, options: GrowthOptions, found: Measured) -> None:
    found.pauses.append(longest_pause(place, options.images, options.repeats))


def _first_ingest(place: Workplace, options: GrowthOptions, found: Measured) -> None:
    found.first_ingests.append(first_ingest(place, options.source))


CASES: Mapping[str, Callable[[Workplace, GrowthOptions, Measured], None]] = {
    "api": _api,
    "command": _command,
    "search": _search,
    "pause": _pause,
    "first-ingest": _first_ingest,
    "commits": _commits,
}


LARGE_CASES = ("api", "command", "pause")
"""Those that a large collection takes part in."""


def measure(place: Workplace, cases: Sequence[str], options: GrowthOptions, found: Measured, advance: Advance) -> None:
    """Run some cases, and add their results. A case that fails does not keep the others from running."""
    for name in cases:
        try:
            with _no_warnings():
                CASES[name](place, options, found)
        except Exception as error:  # a defect in the last case must not lose the results of an hour
            found.failed[f"{place.size}, {name}"] = one_line(error)
        advance(1)


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Leave out the warning of each addition that the model has random weights."""
    logger = logging.getLogger("cbir.pipeline.run")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)

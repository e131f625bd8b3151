"""The result of `cbir-bench growth`, and how it is shown."""

from collections.abc import Iterator
from dataclasses import dataclass

from cbir.evaluation.result_files import Result
from cbir.evaluation.sections import Section
from cbir.tables import Column

from ..core.rows import typed_table
from ..core.subject import Subject
from .changes import Change, Commits, Pause
from .first_ingest import FirstIngest
from .grown import Grown

_NUMBER = Column("", format=".3g")
NOTES = (
    "Changes are of a collection of made-up, clustered vectors that was built at once, in all engines of one index"
    " folder, each change of a copy. The model multiplies a tiny image by a matrix, so embedding takes no time.",
    "A command is timed as a process, from start to end. photos.add is timed with a search that must find one of the"
    " images first. A full rebuild is the command cbir-ingest reindex. Processor time is that of the process that"
    " makes the change, without those that build engines.",
    "First and last of many commits are medians of five. A grown collection is searched by turns with a fresh build of"
    " the same points; the exact hits of that are the ground truth. The size is of all files on the disk, also of a"
    " generation that readers may still have open.",
)


@dataclass(frozen=True, kw_only=True)
class GrowthResult(Result):
    """What was measured of a collection of `points`; `failed` says why a case has no result, by its name."""

    engines: list[str]
    points: int
    dimension: int
    changes: list[Change]
    commits: list[Commits]
    grown: list[Grown]
    first_ingests: list[FirstIngest]
    pauses: list[Pause]
    failed: dict[str, str]


def present(result: GrowthResult) -> Section:
    """Return the section that shows a result."""
    tables = [
        typed_table(title, name, kind, [(row.name, row) for row in rows])
        for title, name, kind, rows in (
            ("Changes", "change", Change, result.changes),
            ("Many commits in a row", "commits", Commits, result.commits),
            ("A grown collection and a fresh build", "after", Grown, result.grown),
            ("The first ingest", "source", FirstIngest, result.first_ingests),
            ("Single searches while another thread adds images", "additions", Pause, result.pauses),
        )
        if rows
    ]
    subject = (
        f"{result.points:,} points of {result.dimension:,} dimensions in {' and '.join(result.engines)}, changed by the"
        " command line and the API."
    )
    failed = [f"{name}: failed: {reason}" for name, reason in result.failed.items()]
    return Section("What does a change cost?", subject, list(_verdicts(result)), tables, [*failed, *result.notes])


def _verdicts(result: GrowthResult) -> Iterator[str]:
    for change in result.changes:
        took = f"{_NUMBER.text(change.seconds.value)} s, {_NUMBER.text(change.ratio)} times a full rebuild"
        yield f"{change.name}: {took} ({_NUMBER.text(change.rebuild)} s)."
    for commits in result.commits:
        yield f"{commits.name}: the last one takes {commits.ratio:.2f} times as long as the first."
    for grown in result.grown:
        size = grown.megabytes / grown.fresh_megabytes
        yield (
            f"{grown.name}: a search takes {grown.ratio:.2f} times as long as in a fresh build, recall differs by"
            f" {grown.recall - grown.fresh_recall:+.4f}, and the files take {size:.2f} times the space."
        )
    for ingest in result.first_ingests:
        yield f"{ingest.name}: published at {ingest.ratio:.2f} times the speed at which images are stored."
    for pause in result.pauses:
        longest, before = _NUMBER.text(pause.longest_ms), _NUMBER.text(pause.longest_before_ms)
        yield f"{pause.name}: the longest search takes {longest} ms, {before} before."


SUBJECT = Subject("growth", GrowthResult, present)

"""What `exchange` wrote, as a table for people and as JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.exchange_files import SELF
from ..core.nearest import Neighbours
from ..core.workload import Subject
from ..parity.ranking import EPSILON
from .exchange import ANN_EPSILON, Failed, Run, mean_recall
from .report import header, new_console, new_table, share


@dataclass(frozen=True)
class Found:
    """All that was found and written.

    Attributes:
        folder: Where.
        formats: In which formats.
        files: Which files.
        truth: The exact neighbours.
        runs: The stores' answers.
        failed: What has no figures.
    """

    folder: Path
    formats: Sequence[str]
    files: Sequence[Path]
    truth: Neighbours
    runs: Sequence[Run]
    failed: Sequence[Failed]


@dataclass(frozen=True)
class Summed:
    """One run: recall by ann-benchmarks' and by cbir's tolerance, searches a second in the best round, and the file."""

    store: str
    algorithm: str
    parameters: str
    recall_ann_benchmarks: float
    recall: float
    searches_per_second: float
    mean_seconds: list[float]


def exchange_json(subject: Subject, found: Found) -> dict[str, Any]:
    """Return what was written as plain JSON values."""
    result = header(subject, "exchange")
    return {
        **result,
        "settings": {**result["settings"], "k": found.truth.count, "formats": list(found.formats)},
        "notes": exchange_notes(),
        "runs": [asdict(one) for one in _summed(found)],
        "failed": [asdict(one) for one in found.failed],
        "files": {str(path.relative_to(found.folder)): path.stat().st_size for path in found.files},
    }


def exchange_notes() -> list[str]:
    """Return what one has to know to read the figures."""
    return [
        SELF,
        f"recall (ann-b.) counts a hit at most {ANN_EPSILON:g} farther than the last true neighbour, as ann-benchmarks"
        f" does; recall is cbir's, with {EPSILON:g}. Searches/s are those of one client in its best round.",
    ]


def show_exchange(subject: Subject, found: Found) -> None:
    """Print how the runs did and what was written."""
    console, info = new_console(), subject.infos[0]
    console.print(
        f"{subject.collection}: {info.count:,} points, {info.model.dimension} dimensions,"
        f" {len(subject.queries):,} queries, {found.truth.count} neighbours"
    )
    if found.runs:
        table = new_table("Results", ["store", "search", "recall (ann-b.)", "recall", "searches/s"])
        for one in _summed(found):
            rate = f"{one.searches_per_second:,.0f}"
            table.add_row(one.algorithm, one.parameters, share(one.recall_ann_benchmarks), share(one.recall), rate)
        console.print(table)
    for failed in found.failed:
        console.print(f"{failed.store}, {failed.parameters}: failed: {failed.failed}")
    for note in exchange_notes():
        console.print(note)
    size = sum(path.stat().st_size for path in found.files)
    console.print(f"{len(found.files)} files, {size / 1e6:,.1f} MB; README.md says how to use them: ", end="")
    console.print(str(found.folder), soft_wrap=True)


def _summed(found: Found) -> list[Summed]:
    return [
        Summed(
            store=one.store,
            algorithm=one.algorithm,
            parameters=one.parameters,
            recall_ann_benchmarks=mean_recall(found.truth, one.found, ANN_EPSILON),
            recall=mean_recall(found.truth, one.found, EPSILON),
            searches_per_second=1 / min(one.mean_seconds),
            mean_seconds=one.mean_seconds,
        )
        for one in found.runs
    ]

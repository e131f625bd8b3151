"""The result of `cbir-bench exchange`, and how it is shown."""

from dataclasses import dataclass

from cbir.evaluation.sections import Section
from cbir.tables import Column

from ..core.ranking import EPSILON
from ..core.rows import table_of
from ..core.subject import StoreResult, Subject
from .files import SELF
from .measure import ANN_EPSILON, SearchRun

NOTES = (
    SELF,
    f"recall (ann-b.) counts a hit at most {ANN_EPSILON:g} farther than the last true neighbour, as ann-benchmarks"
    f" does; recall is cbir's, with {EPSILON:g}. Searches/s are those of one client: the median of the rounds.",
)
COLUMNS = (
    (Column("recall (ann-b.)", format=".4f"), "recall_ann_benchmarks"),
    (Column("recall", format=".4f", better="higher"), "recall"),
    (Column("speed", "searches/s", ",.0f", better="higher"), "searches_per_second"),
)
_RECALL = 0.99


@dataclass(frozen=True, kw_only=True)
class ExchangeResult(StoreResult):
    """What was written: the bytes of each file by its path in `folder`, and the searches."""

    folder: str
    files: dict[str, int]
    runs: list[SearchRun]


def present(result: ExchangeResult) -> Section:
    """Return the section that shows a result."""
    runs = [(f"{run.algorithm} {run.parameters}", run) for run in result.runs]
    megabytes = sum(result.files.values()) / 1e6
    verdicts = [f"{len(result.files)} files, {megabytes:,.1f} MB; README.md says how to use them: {result.folder}"]
    good = [
        (run.searches_per_second.median, name)
        for name, run in runs
        if run.searches_per_second and run.recall and run.recall >= _RECALL
    ]
    if good:
        speed, name = max(good)
        verdicts.append(f"{name} is the fastest with recall {_RECALL} or more: {speed:,.0f} searches/s.")
    failed = [f"{name}: failed: {run.failed}" for name, run in runs if run.failed]
    subject = f"{result.collection}: {result.points:,} points, {result.queries:,} queries, {result.k} neighbours."
    parts = [table_of("", "store, search", runs, *COLUMNS)] if runs else []
    return Section("Files for other benchmarks", subject, verdicts, parts, [*failed, *result.notes])


SUBJECT = Subject("exchange", ExchangeResult, present)

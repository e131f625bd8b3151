"""What `exchange` wrote, as JSON for programs and as a section for people."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.document import Result, Section, Table, share
from ..core.ground_truth import Neighbours
from ..core.ranking import EPSILON
from ..core.results import header
from ..core.workload import Workload
from .files import SELF
from .measure import ANN_EPSILON, Case, mean_recall

_NOTES = [
    SELF,
    f"recall (ann-b.) counts a hit at most {ANN_EPSILON:g} farther than the last true neighbour, as ann-benchmarks"
    f" does; recall is cbir's, with {EPSILON:g}. Searches/s are those of one client in its best round.",
]


def exchange_json(
    workload: Workload,
    formats: Sequence[str],
    sizes: dict[str, int],
    truth: Neighbours,
    runs: Sequence[Case],
    failed: Sequence[Case],
) -> dict[str, Any]:
    """Return what was written as plain JSON values; `sizes` are the bytes of each file."""
    result = header(workload, "exchange")
    figures = []
    for one in runs:
        found, means = one.found(workload), [float(np.mean(spent)) for spent in one.rounds]
        figures.append(
            {
                "store": one.store,
                "algorithm": one.algorithm,
                "parameters": one.parameters,
                "recall_ann_benchmarks": mean_recall(truth, found, ANN_EPSILON),
                "recall": mean_recall(truth, found, EPSILON),
                "searches_per_second": 1 / min(means),
                "mean_seconds": means,
            }
        )
    return {
        **result,
        "settings": {**result["settings"], "k": truth.count, "formats": list(formats)},
        "notes": _NOTES,
        "runs": figures,
        "failed": [{name: getattr(one, name) for name in ("store", "parameters", "failed")} for one in failed],
        "files": sizes,
    }


def exchange_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `exchange`."""
    rows = [
        [
            one["algorithm"],
            one["parameters"],
            *(share(one[name]) for name in ("recall_ann_benchmarks", "recall")),
            f"{one['searches_per_second']:,.0f}",
        ]
        for one in result["runs"]
    ]
    columns = ["store", "search", "recall (ann-b.)", "recall", "searches/s"]
    failed = [f"{one['store']}, {one['parameters']}: failed: {one['failed']}" for one in result["failed"]]
    question = f"{result['settings']['queries']:,} queries, {result['settings']['k']} neighbours."
    parts = [Table("Results", columns, rows)] if rows else []
    return Section("Files for other benchmarks", question, command, parts, [*failed, *result["notes"]])

"""The result of `cbir-bench baselines`, and how it is shown."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cbir.evaluation.sections import CurvePoint, Curves, Part, Section

from ..core.rows import typed_table
from ..core.subject import StoreResult, Subject
from ..embedding.measure import ModelEmbedding, embedding_notes, embedding_tables, embedding_verdicts
from .search import EF_CONSTRUCT, Candidate, M
from .search_worker import LIBRARIES, STORE

_MIN_RECALL_PLOTTED = 0.8


@dataclass(frozen=True, kw_only=True)
class BaselinesResult(StoreResult):
    """The stores compared with other libraries at `recall` in `rounds` turns of at most `seconds`.

    `source` is what was embedded, None if only searching was measured; `embedding` then has a part for each model.
    """

    source: str | None
    rounds: int
    seconds: float
    recall: float
    candidates: list[Candidate]
    embedding: list[ModelEmbedding]


def present(result: BaselinesResult) -> Section:
    """Return the section that shows a result."""
    curves = {
        candidate.name: [
            CurvePoint(step.recall, 1000 / step.median_ms.value, True)
            for step in candidate.curve
            if step.recall >= _MIN_RECALL_PLOTTED
        ]
        for candidate in result.candidates
        if not candidate.missing
    }
    caption = f"Recall@{result.k} against searches a second, by candidate, at every ef"
    title = f"Searching at recall@{result.k} of at least {result.recall}"
    ordered = sorted(result.candidates, key=lambda found: found.median_ms or math.inf)
    parts: list[Part] = [
        typed_table(title, "candidate", Candidate, ((found.name, found) for found in ordered)),
        Curves("baselines", caption, f"recall@{result.k}", "searches a second, one client", curves, result.recall),
        *embedding_tables(result.embedding),
    ]
    verdicts = [*_verdicts(result), *embedding_verdicts(result.embedding)]
    subject = (
        f"{result.collection}: {result.points:,} points of {result.model.dimension:,} dimensions, searched by cbir and"
        " by other libraries with the same vectors."
    )
    return Section("How does cbir compare with other libraries?", subject, verdicts, parts, result.notes)


def notes(candidates: Sequence[Candidate], embedding: Sequence[ModelEmbedding]) -> list[str]:
    """Return what a reader must know to read the result."""
    said = [
        f"Every candidate is a process of its own with the same vectors. Graphs have m = {M} and ef_construct ="
        f" {EF_CONSTRUCT}, or what a store of cbir was built with. One client sends one query after the other. All"
        " candidates take turns at every ef, in a random order each round. Times are medians of the rounds.",
        "A store of cbir answers with ids and payloads through the store protocol, the others with positions or ids"
        " alone. Memory is that of the process that searches.",
        *(f"{found.name}: {LIBRARIES.get(found.name, STORE).description}." for found in candidates),
    ]
    if embedding:
        said += embedding_notes(embedding)
    return said + [f"{found.name}: not measured: {found.missing}" for found in candidates if found.missing]


def _verdicts(result: BaselinesResult) -> Iterator[str]:
    reached = [(found.median_ms, found.name) for found in result.candidates if found.median_ms and not found.ours]
    for found in result.candidates:
        if found.curve and not found.median_ms:
            most = max(step.recall for step in found.curve)
            yield f"{found.name} does not reach recall {result.recall}: {most:.4f} at most."
        elif found.ours and found.median_ms and reached:
            fastest, name = min(reached)
            yield (
                f"{found.name} takes {found.median_ms / fastest:.2f} times as long as {name}, the fastest library, at"
                f" recall {result.recall}."
            )


SUBJECT = Subject("baselines", BaselinesResult, present)

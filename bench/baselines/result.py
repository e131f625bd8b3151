"""The result of `cbir-bench baselines`, and how it is shown."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from cbir.evaluation.sections import CurvePoint, Curves, Part, Section

from ..core.rows import typed_table
from ..core.subject import StoreResult, Subject
from ..core.verdicts import NOTE, at_least, compared
from ..embedding.measure import ModelEmbedding, embedding_notes, embedding_tables, embedding_verdicts
from .libraries import LIBRARIES
from .own_store import LIBRARIES as OWN
from .search import ADDED, EF_CONSTRUCT, Candidate, M

_MIN_RECALL_PLOTTED = 0.8


@dataclass(frozen=True, kw_only=True)
class BaselinesResult(StoreResult):
    """The stores compared with other libraries at `recall` in `rounds` turns of at most `seconds`.

    `source` is what was embedded, None if only searching was measured; `embedding` then has a part for each model.
    `added` points were added in each round.
    """

    source: str | None
    rounds: int
    seconds: float
    recall: float
    candidates: list[Candidate]
    embedding: list[ModelEmbedding]
    added: int = ADDED


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
    title = f"Searching at recall@{result.k} of at least {result.recall:g}"
    ordered = sorted(result.candidates, key=lambda found: found.median_ms or math.inf)
    parts: list[Part] = [
        typed_table(title, "candidate", Candidate, ((found.name, found) for found in ordered)),
        Curves("baselines", caption, f"recall@{result.k}", "searches a second, one client", curves, result.recall),
        *embedding_tables(result.embedding),
    ]
    verdicts = [*_verdicts(result), *embedding_verdicts(result.embedding, result.machine)]
    subject = (
        f"{result.collection}: {result.points:,} points of {result.model.dimension:,} dimensions, searched by cbir and"
        " by other libraries with the same vectors."
    )
    return Section("How does cbir compare with other libraries?", subject, verdicts, parts, result.notes)


def notes(candidates: Sequence[Candidate], embedding: Sequence[ModelEmbedding], added: int) -> list[str]:
    """Return what a reader must know to read the result."""
    said = [
        f"Every candidate builds an index of its own, with m = {M} and ef_construct = {EF_CONSTRUCT} or what the store"
        " of cbir was built with, on all processors. The queries are in none of them. All candidates take turns at"
        " every ef, in a random order each round, after searches that are not timed. One client sends one query after"
        " the other, then the same ones at once, which all processors may share. Recall is that of the timed searches."
        " Times are medians of the rounds, with the lowest and the highest.",
        "A store of cbir answers with ids and payloads through the store protocol, which are read in the timed search;"
        " the others answer with positions or ids alone. New indexes of cbir have vectors of 16 bits and compare what"
        " they find with the stored ones of 32; a library has what its line says. Memory is that of the process that"
        " searches, and while building of all processes together. A build ends when the index is on the disk. Opening"
        " is in a new process with its library loaded, until the first answer, and its files are in memory already."
        f" Adding {added} points ends when they are found, and durable as far as the library promises it; one that"
        " keeps its index in memory writes and syncs the whole file for that.",
        NOTE,
        *(f"{found.name}: {LIBRARIES.get(found.name, OWN['cbir']).description}." for found in candidates),
        *(f"{found.name}: adding was not measured: {found.not_added}" for found in candidates if found.not_added),
    ]
    if embedding:
        said += [note for note in embedding_notes(embedding) if note not in said]
    return said + [f"{found.name}: not measured: {found.missing}" for found in candidates if found.missing]


def _verdicts(result: BaselinesResult) -> Iterator[str]:
    """Compare each store of cbir with the fastest library, and the fastest store with the others."""
    reached = sorted((found for found in result.candidates if found.at_recall), key=lambda found: found.median_ms or 0)
    ours, libraries = ([found for found in reached if found.ours == own] for own in (True, False))
    recall = f"at recall@{result.k} >= {result.recall:g}"
    pairs = [(store, library) for store in ours[:1] for library in libraries]
    pairs += [(store, library) for store in ours[1:] for library in libraries[:1]]
    for store, library in pairs:
        yield from compared(store.name, library.name, _rounds_ms(store), _rounds_ms(library), "answers", recall)
    added = [found for found in libraries if found.rounds_add_ms]
    for store in ours:
        if store.rounds_add_ms and added:
            best = min(added, key=lambda found: median(found.rounds_add_ms))
            what = f"adds {result.added} points, durable and found,"
            yield from compared(store.name, best.name, store.rounds_add_ms, best.rounds_add_ms, what)
    for found in result.candidates:
        if found.curve and not found.at_recall:
            most = max(step.recall for step in found.curve)
            yield f"{found.name} does not reach recall {result.recall:g}: {at_least(most)} at most."


def _rounds_ms(found: Candidate) -> list[float]:
    """Return the median of each round at the wanted recall; nothing in a result that does not have them."""
    step = found.at_recall
    assert step is not None  # noqa: S101 - it was reached
    return step.rounds_ms


SUBJECT = Subject("baselines", BaselinesResult, present)

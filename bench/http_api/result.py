"""The result of `cbir-bench http`, and how it is shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from cbir.evaluation.sections import Section
from cbir.tables import Column, Range

from ..core.rows import typed_table
from ..core.subject import StoreResult, Subject

NOTES = (
    "All cases of a round take turns on one machine, clients included: these are a process of their own. Each number is"
    " the median of the rounds, with the lowest and the highest.",
    "A bare route parses the vector, asks the same store and writes ids and scores. cbir-serve runs as one process,"
    " with its default settings. Images are JPEG files of 300 x 400 pixels, made of stored thumbnails, sent as a form.",
)


@dataclass(frozen=True)
class Case:
    """One kind of search by some clients at once: the median of its times, and its rate."""

    name: str
    clients: Annotated[int, Column("clients")]
    milliseconds: Annotated[Range, Column("p50", "ms", ".3g", better="lower")]
    per_second: Annotated[Range, Column("searches/s", format=",.0f", better="higher")]
    failed: Annotated[int, Column("failed")]


@dataclass(frozen=True, kw_only=True)
class HttpResult(StoreResult):
    """The cases of one store, and the seconds until `cbir-serve` was ready."""

    rounds: int
    ready_seconds: float
    cases: list[Case]


def present(result: HttpResult) -> Section:
    """Return the section that shows a result."""
    table = typed_table("Searches over HTTP", "search", Case, [(case.name, case) for case in result.cases])
    size = f"{result.points:,} points of {result.model.dimension:,} dimensions"
    subject = f"{result.collection}: {size} in {result.stores[0].url}."
    return Section("How fast is the HTTP API?", subject, list(_verdicts(result)), [table], result.notes)


def _verdicts(result: HttpResult) -> Iterator[str]:
    by_name: dict[str, list[Case]] = {}
    for case in result.cases:
        by_name.setdefault(case.name, []).append(case)
    (own,), bare, served = (
        by_name[f"vector, {name}"] for name in ("the store's own call", "a bare route", "cbir-serve")
    )
    yield f"cbir-serve is ready after {result.ready_seconds:.2f} s."
    added = served[0].milliseconds.value - own.milliseconds.value
    yield f"A search by vector takes {added:.2f} ms more than the store's own call."
    share = served[-1].per_second.value / bare[-1].per_second.value
    yield (
        f"cbir-serve answers {served[-1].per_second.value:,.0f} searches by vector a second for {served[-1].clients}"
        f" clients, {share:.2f} times as many as a bare route."
    )
    if here := by_name.get("image, in Python"):
        single, many = by_name["image, cbir-serve"]
        slower = single.milliseconds.value / here[0].milliseconds.value
        more = many.per_second.value / single.per_second.value
        yield (
            f"A search by image takes {slower:.2f} times as long as in Python,"
            f" and {many.clients} clients get {more:.2f} times as many answers as one."
        )


SUBJECT = Subject("http", HttpResult, present)

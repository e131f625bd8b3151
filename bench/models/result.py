"""The result of `cbir-bench models`, and how it is shown."""

from collections.abc import Iterator
from dataclasses import dataclass

from cbir.evaluation.result_files import model_name
from cbir.evaluation.sections import Bar, Bars, Part, Section
from cbir.tables import Cell, Column, Table

from ..core.subject import Result, Subject
from ..core.timing import Noise
from .measure import Case, ModelSpeed

COLUMNS = (
    Column("model"),
    Column("dimension", format=",d", detail=True),
    Column("input", "pixels", "d"),
    Column("file", "MB", ".1f"),
    Column("time", "ms an image", ".2f", better="lower"),
    Column("speed", "images/s", ",.0f"),
)


@dataclass(frozen=True, kw_only=True)
class ModelsResult(Result):
    """How fast each model is; `rounds` are the turns of each case, and `threads` those of the runtime."""

    rounds: int
    threads: int
    models: list[ModelSpeed]
    noise: Noise


def present(result: ModelsResult) -> Section:
    """Return the section that shows a result."""
    rows: list[list[Cell]] = []
    bars = []
    for name, model, case in _cases(result):
        if (time := case.ms_an_image) and (rate := case.images_per_second):
            rows.append([name, model.dimension, model.input, model.megabytes, time, rate.value])
            bars.append(Bar(name, time.value, time.low, time.high))
    parts: list[Part] = [Table("", COLUMNS, rows)]
    if bars:
        caption = "Milliseconds an image by model, provider and batch, with the range of the rounds"
        parts.append(Bars("models", caption, "milliseconds an image", bars, logarithmic=True))
    failed = [f"{name}: failed: {case.failed}" for name, _, case in _cases(result) if case.failed]
    subject = "The model alone, over pixels in memory."
    return Section("How fast is each model?", subject, _verdicts(result), parts, [*result.notes, *failed])


def _verdicts(result: ModelsResult) -> list[str]:
    """Compare the models by the fastest case of each."""
    best: dict[str, float] = {}
    for _, model, case in _cases(result):
        if case.ms_an_image:
            name = model_name(model.model, model.precision)
            best[name] = min(best.get(name, case.ms_an_image.value), case.ms_an_image.value)
    if not best:
        return []
    first, last = min(best, key=best.__getitem__), max(best, key=best.__getitem__)
    if first == last:
        return [f"{first} takes {best[first]:.2f} ms an image."]
    slower = f"{last} takes {best[last] / best[first]:.1f} times as long."
    return [f"{first} is the fastest model: {best[first]:.2f} ms an image. {slower}"]


def _cases(result: ModelsResult) -> Iterator[tuple[str, ModelSpeed, Case]]:
    for model in result.models:
        for case in model.cases:
            yield f"{model_name(model.model, model.precision)}, {case.provider}, batch {case.batch}", model, case


SUBJECT = Subject("models", ModelsResult, present)

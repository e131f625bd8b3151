"""The result of `cbir-bench models`, and how it is shown."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from cbir.evaluation.result_files import Result, model_name
from cbir.evaluation.sections import Bar, Bars, Part, Section

from ..core.rows import typed_table
from ..core.subject import Subject
from ..core.timing import Noise
from ..core.verdicts import compared, on_processor
from ..embedding.model_speed import ModelSpeed


@dataclass(frozen=True, kw_only=True)
class ModelsResult(Result):
    """How fast each model is; `rounds` are the turns of each case, and `threads` those of the runtime."""

    rounds: int
    threads: int
    speeds: list[ModelSpeed]
    noise: Noise


def present(result: ModelsResult) -> Section:
    """Return the section that shows a result."""
    times = [(case, case.ms_an_image) for case in result.speeds if case.ms_an_image]
    parts: list[Part] = [typed_table("", "model", ModelSpeed, [(case.name, case) for case, _ in times])]
    if times:
        bars = [Bar(case.name, time.value, time.low, time.high) for case, time in times]
        caption = "Milliseconds an image by model, device and batch, with the range of the rounds"
        parts.append(Bars("models", caption, "milliseconds an image", bars, logarithmic=True))
    failed = [f"{case.name}: failed: {case.failed}" for case in result.speeds if case.failed]
    subject = "The model alone, over pixels in memory."
    return Section("How fast is each model?", subject, list(_verdicts(result)), parts, [*result.notes, *failed])


def _verdicts(result: ModelsResult) -> Iterator[str]:
    """Compare the fastest model with the slowest, each in its best case, and its precisions batch by batch."""
    timed = sorted((case for case in result.speeds if case.ms_an_image), key=_ms)
    if not timed:
        return
    best: dict[str, ModelSpeed] = {}
    for case in timed:
        best.setdefault(_name(case), case)
    fastest, slowest = timed[0], list(best.values())[-1]
    where = on_processor(result.machine)
    yield f"{_name(fastest)} takes {_ms(fastest):.2f} ms an image in batches of {fastest.batch}{where}."
    if slowest is not fastest and not (_family(slowest) == _family(fastest) and _setting(slowest) == _setting(fastest)):
        yield from _compared(fastest, slowest, f"in batches of {fastest.batch} and {slowest.batch}{where}")
    family = [case for case in timed if _family(case) == _family(fastest)]
    for case, other in product(sorted(family, key=lambda case: case.batch), family):
        if case.precision == fastest.precision != other.precision and _setting(case) == _setting(other):
            yield from _compared(case, other, f"in batches of {case.batch} by {case.device}{where}")


def _compared(case: ModelSpeed, other: ModelSpeed, where: str) -> list[str]:
    return compared(_name(case), _name(other), case.rounds_ms, other.rounds_ms, "embeds", where)


def _name(case: ModelSpeed) -> str:
    return model_name(case.model, case.precision)


def _family(case: ModelSpeed) -> str:
    return case.model.removesuffix(f"-{case.precision}")


def _setting(case: ModelSpeed) -> tuple[str, int]:
    return case.device, case.batch


def _ms(case: ModelSpeed) -> float:
    return case.ms_an_image.value if case.ms_an_image else math.inf


SUBJECT = Subject("models", ModelsResult, present)

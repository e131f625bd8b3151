"""The result of `cbir-bench models`, and how it is shown."""

from dataclasses import dataclass

from cbir.evaluation.result_files import model_name
from cbir.evaluation.sections import Bar, Bars, Part, Section

from ..core.rows import typed_table
from ..core.subject import Result, Subject
from ..core.timing import Noise
from .measure import ModelSpeed


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
    return Section("How fast is each model?", subject, _verdicts(result), parts, [*result.notes, *failed])


def _verdicts(result: ModelsResult) -> list[str]:
    """Compare the models by the fastest case of each."""
    best: dict[str, float] = {}
    for case in result.speeds:
        if case.ms_an_image:
            name = model_name(case.model, case.precision)
            best[name] = min(best.get(name, case.ms_an_image.value), case.ms_an_image.value)
    if not best:
        return []
    first, last = min(best, key=best.__getitem__), max(best, key=best.__getitem__)
    if first == last:
        return [f"{first} takes {best[first]:.2f} ms an image."]
    slower = f"{last} takes {best[last] / best[first]:.1f} times as long."
    return [f"{first} is the fastest model: {best[first]:.2f} ms an image. {slower}"]


SUBJECT = Subject("models", ModelsResult, present)

"""What `models` measured, as JSON for programs and as a section for people."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cbir.evaluation.result_files import model_name
from cbir.models.runtime import cores, int8_overflows

from ..core.document import Part, Ranges, Result, Section, Table, between
from ..core.results import INT8_NOTE, envelope
from ..core.timing import Noise
from .measure import ModelSpeed


def models_json(found: Sequence[ModelSpeed], noise: Noise, rounds: int) -> dict[str, Any]:
    """Return the result as plain JSON values; what failed says why, and has null for figures."""
    return {
        **envelope("models", ("cbir", "onnxruntime", "numpy")),
        "settings": {"rounds": rounds, "threads": cores()},
        "models": [asdict(one) for one in found],
        "noise": asdict(noise),
        "notes": models_notes(found, noise),
    }


def models_notes(found: Sequence[ModelSpeed], noise: Noise) -> list[str]:
    """Return what one has to know to read the figures."""
    notes = [
        f"The model alone over ready pixels, with {cores()} threads; all cases took turns, in an order drawn anew each"
        " round, after one untimed round. Medians of the rounds, with the lowest and the highest.",
        *noise.notes(),
    ]
    if int8_overflows() and any(one.precision == "int8" for one in found):
        notes.append(INT8_NOTE)
    notes += [
        f"{one.model} has random weights: its speed holds, its vectors mean nothing."
        for one in found
        if one.random_weights
    ]
    return notes


def models_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `models`."""
    rows, bars, failed = [], [], []
    for one in result["models"]:
        for case in one["cases"]:
            spent = case["ms_an_image"]
            name = f"{model_name(one['model'], one['precision'])}, {case['provider']}, batch {case['batch']}"
            if spent is None:
                failed.append(f"{name}: failed: {case['failed']}")
                continue
            bars.append((name, spent["median"], spent["lowest"], spent["highest"]))
            rows.append(
                [
                    name,
                    f"{one['dimension']:,}",
                    f"{one['input']}",
                    f"{one['megabytes']:.1f}",
                    f"{spent['median']:.2f}",
                    between(spent, ".2f"),
                    f"{case['images_per_second']['median']:,.0f}",
                ]
            )
    columns = ["model", "D", "input", "MB", "ms an image", "lowest - highest", "images/s"]
    parts: list[Part] = [Table("", columns, rows)]
    if bars:
        words = "Milliseconds an image by model, provider and batch, with the range of the rounds"
        parts.append(Ranges("models", words, "milliseconds an image", bars, logarithmic=True))
    question = "The model alone, over ready pixels."
    return Section("How fast is each model?", question, command, parts, [*result["notes"], *failed])

"""What `models` measured, as a table for people and as JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from cbir.evaluation.result_files import machine
from cbir.models.runtime import int8_overflows
from cbir.models.sealed import cores

from ..core.noise import Noise
from .models import ModelSpeed
from .report import FORMAT, new_console, new_table


def models_json(found: Sequence[ModelSpeed], noise: Noise, rounds: int) -> dict[str, Any]:
    """Return the result as plain JSON values; what failed says why, and has null for figures."""
    return {
        "benchmark": "models",
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {"rounds": rounds, "threads": cores()},
        "models": [asdict(one) for one in found],
        "noise": asdict(noise),
        "notes": models_notes(found, noise),
        "versions": {name: version(name) for name in ("cbir", "onnxruntime", "numpy")},
        "machine": machine(),
    }


def models_notes(found: Sequence[ModelSpeed], noise: Noise) -> list[str]:
    """Return what one has to know to read the figures."""
    notes = [
        f"The model alone over ready pixels, with {cores()} threads; all cases took turns, in an order drawn anew each"
        " round, after one untimed round. Medians of the rounds, with the lowest and the highest.",
        f"The machine: a matrix product that is always the same took {noise.kernel_ms.lowest:.3f} to"
        f" {noise.kernel_ms.highest:.3f} ms.",
    ]
    if int8_overflows() and any(one.precision == "int8" for one in found):
        notes.append("This processor has no VNNI: int8 runs in an exact and slower way.")
    notes += [
        f"{one.model} has random weights: its speed holds, its vectors mean nothing."
        for one in found
        if one.random_weights
    ]
    return notes


def show_models(found: Sequence[ModelSpeed], noise: Noise) -> None:
    """Print the table."""
    console = new_console()
    columns = ["model", "precision", "D", "input", "MB", "provider", "batch", "ms / image", "low - high", "images/s"]
    table = new_table("", columns)
    failed = []
    for one in found:
        first = [one.model, one.precision, str(one.dimension), str(one.input), f"{one.megabytes:.1f}"]
        for case in one.cases:
            spent, rate = case.ms_an_image, case.images_per_second
            if spent is None or rate is None:
                failed.append(f"{one.model}, {case.provider}: failed: {case.failed}")
                continue
            low_high = f"{spent.lowest:.2f} - {spent.highest:.2f}"
            table.add_row(
                *first, case.provider, str(case.batch), f"{spent.median:.2f}", low_high, f"{rate.median:,.0f}"
            )
            first = [""] * 5
    console.print(table)
    for line in dict.fromkeys(failed):
        console.print(line)
    for note in models_notes(found, noise):
        console.print(note)

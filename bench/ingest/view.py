"""What `ingest_speed` measured, as tables for people and as JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cbir.evaluation.result_files import machine
from cbir.models.runtime import int8_overflows

from .measure import Asked, Measured, Part, Ratio, Spread
from .workload import Prepared

FORMAT = 1
_PACKAGES = ("cbir", "onnxruntime", "pillow", "numpy", "qdrant-edge-py", "faiss-cpu")
_BUSY = 0.1
_WIDTH = 120


def speed_json(prepared: Prepared, asked: Asked, measured: Sequence[Measured]) -> dict[str, Any]:
    """Return the result as plain JSON values; what is not known is null."""
    return {
        "benchmark": "ingest",
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": prepared.source,
        "sample": {"pictures": prepared.sample, "bytes": prepared.sample_bytes},
        "settings": {"rounds": asked.rounds, "seconds": asked.seconds, "options": asdict(asked.options)},
        "models": [asdict(one) for one in measured],
        "notes": speed_notes(prepared, measured),
        "versions": {name: version(name) for name in _PACKAGES},
        "machine": machine(),
    }


def speed_notes(prepared: Prepared, measured: Sequence[Measured]) -> list[str]:
    """Return what one has to know to read the figures."""
    notes = [
        "The parts took turns; images/s are medians with the lowest and the highest, ratios those of each round. ms is"
        " processor time of an image, MB the most memory of all its processes."
    ]
    busy = [part.others for one in measured for part in one.parts if part.others is not None and part.others > _BUSY]
    if busy:
        notes.append(
            f"WARNING: other processes used up to {max(busy):.0%} of the processors meanwhile; such figures mean"
            " little."
        )
    if int8_overflows() and any(card.precision == "int8" for card in prepared.cards):
        notes.append(
            "This processor has no VNNI: cbir runs int8 in an exact and slower way here, a peer in the ordinary one,"
            " whose sums overflow."
        )
    for card in prepared.cards:
        if card.random_weights:
            notes.append(f"The model {card.name} has random weights; its speed holds, its vectors mean nothing.")
    return notes


def show_speed(prepared: Prepared, asked: Asked, measured: Sequence[Measured]) -> None:
    """Print a table of parts and one of ratios for each model."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(_WIDTH, console.width)
    mean = prepared.sample_bytes / prepared.sample / 1000
    console.print(
        f"{prepared.source}: {asked.rounds} rounds; a sample of {prepared.sample:,} pictures of {mean:,.1f} kB"
    )
    for one in measured:
        console.print(_parts(one))
        console.print(_ratios(one.ratios))
        if one.agreement:
            found = one.agreement
            console.print(
                f"fastembed's vectors of {found.pictures} pictures: cosine to ours at least {found.lowest:.6f}, median"
                f" {found.median:.6f}"
            )
    for note in speed_notes(prepared, measured):
        console.print(note)


def _parts(one: Measured) -> Table:
    table = Table(
        title=f"{one.model}, {one.stored:,} pictures", title_justify="left", title_style="bold", box=SIMPLE_HEAD
    )
    table.add_column("part", no_wrap=True)
    for column in ("images/s", "lowest - highest", "ms", "start and end", "MB", "others"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for part in one.parts:
        table.add_row(part.name, *_figures(part), part.missing)
    return table


def _figures(part: Part) -> list[str]:
    if part.images_per_second is None:
        return ["-"] * 6
    return [
        f"{part.images_per_second.median:,.1f}",
        _range(part.images_per_second, 1),
        _known(part.core_milliseconds, ".2f"),
        f"{part.around_seconds:.1f} s",
        _known(part.peak_megabytes, ",.0f"),
        _known(part.others, ".0%"),
    ]


def _ratios(ratios: Sequence[Ratio]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("ratio", no_wrap=True)
    for column in ("times", "lowest - highest", "by processor time"):
        table.add_column(column, justify="right", no_wrap=True)
    for ratio in ratios:
        times = f"{ratio.by_clock.median:.3f}"
        table.add_row(f"{ratio.of} / {ratio.to}", times, _range(ratio.by_clock, 3), _known(ratio.by_processor, ".3f"))
    return table


def _range(spread: Spread, digits: int) -> str:
    return f"{spread.lowest:,.{digits}f} - {spread.highest:,.{digits}f}"


def _known(value: float | None, digits: str) -> str:
    return "-" if value is None else format(value, digits)

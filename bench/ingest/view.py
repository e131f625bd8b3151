"""What `ingest` measured, as JSON for programs and as a section for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cbir.models.runtime import int8_overflows

from ..core.document import Result, Section, Table, between, known
from ..core.results import INT8_NOTE, envelope
from ..core.timing import busy_notes
from .measure import Asked, Measured
from .sample import Prepared

_PACKAGES = ("cbir", "onnxruntime", "pillow", "numpy", "qdrant-edge-py", "faiss-cpu")


def speed_json(prepared: Prepared, asked: Asked, measured: Sequence[Measured]) -> dict[str, Any]:
    """Return the result as plain JSON values; what is not known is null."""
    return {
        **envelope("ingest", _PACKAGES),
        "source": prepared.source,
        "sample": {"pictures": prepared.sample, "bytes": prepared.sample_bytes},
        "settings": {"rounds": asked.rounds, "seconds": asked.seconds, "options": asdict(asked.options)},
        "models": [asdict(one) for one in measured],
        "notes": speed_notes(prepared, measured),
    }


def speed_notes(prepared: Prepared, measured: Sequence[Measured]) -> list[str]:
    """Return what one has to know to read the figures."""
    notes = [
        "The parts took turns; images/s are medians with the lowest and the highest, ratios those of each round. ms is"
        " processor time of an image, MB the most memory of all its processes."
    ]
    notes += busy_notes([part.others for one in measured for part in one.parts])
    if int8_overflows() and any(card.precision == "int8" for card in prepared.cards):
        notes.append(INT8_NOTE)
    warning = "The model {} has random weights; its speed holds, its vectors mean nothing."
    return notes + [warning.format(card.name) for card in prepared.cards if card.random_weights]


def ingest_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `ingest`."""
    parts = [part for one in result["models"] for part in embedding_parts(one)]
    question = f"{result['source']}: the command line beside its model alone, and other ways from files to vectors."
    return Section("How fast does an ingest run?", question, command, parts, result["notes"])


def embedding_parts(measured: Mapping[str, Any]) -> list[Table]:
    """Return the tables of one model's ways from image files to vectors."""
    rows = []
    for part in measured["parts"]:
        rate = part["images_per_second"]
        if rate is None:
            rows.append([part["name"], "-", "-", "-", "-", f"not measured: {part['missing']}"])
            continue
        rows.append(
            [
                part["name"],
                f"{rate['median']:,.1f}",
                between(rate, ",.1f"),
                known(part["core_milliseconds"], ".2f"),
                known(part["peak_megabytes"], ",.0f"),
                part["what"],
            ]
        )
    columns = ["way", "images/s", "lowest - highest", "processor ms an image", "MB", "what it is"]
    ratios = [
        [
            f"{one['of']} / {one['to']}",
            f"{one['by_clock']['median']:.3f}",
            between(one["by_clock"], ".3f"),
            known(one["by_processor"], ".3f"),
        ]
        for one in measured["ratios"]
    ]
    return [
        Table(f"{measured['model']}, {measured['stored']:,} pictures", columns, rows),
        Table("Round by round", ["ratio", "by the clock", "lowest - highest", "by processor time"], ratios),
    ]

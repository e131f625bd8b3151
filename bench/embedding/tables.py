"""How measurements of image files to vectors are shown: verdicts, tables and notes."""

from collections.abc import Sequence

from cbir.models.runtime import int8_overflows
from cbir.tables import Column, Table

from ..core.rows import table_of
from ..core.timing import busy_notes
from .measure import BOUND, DURABLE, MODEL, PUBLISHED, ModelEmbedding

INT8_NOTE = (
    "This processor has no VNNI: cbir runs int8 in an exact and slower way here, a baseline in the ordinary way, whose"
    " sums overflow."
)
_COLUMNS = (
    (Column("images/s", format=",.1f", better="higher"), "images_per_second"),
    (Column("CPU", "ms", ".2f"), "core_milliseconds"),
    (Column("memory", "MB", ",.0f"), "peak_megabytes"),
    (Column("durable / this", format=".2f"), "ratio"),
)


def embedding_tables(measured: Sequence[ModelEmbedding]) -> list[Table]:
    """Return a table of the parts of each model."""
    return [
        table_of(
            f"{model.model}, {model.stored:,} images", "part", [(part.name, part) for part in model.parts], *_COLUMNS
        )
        for model in measured
    ]


def embedding_verdicts(measured: Sequence[ModelEmbedding]) -> list[str]:
    """Return how near each ingest comes to its model alone, and how it compares with the fastest baseline."""
    verdicts = []
    for model in measured:
        ratios = {part.name: part.ratio.median for part in model.parts if part.ratio}
        verdicts.append(f"An ingest with {model.model} reaches {ratios[MODEL]:.0%} of the speed of its model alone.")
        baselines = [name for name in ratios if name not in (MODEL, BOUND, DURABLE, PUBLISHED)]
        if baselines:
            fastest = min(baselines, key=lambda name: ratios[name])
            verdicts.append(f"It is {ratios[fastest]:.2f} times as fast as {fastest}, the fastest baseline.")
    return verdicts


def embedding_notes(measured: Sequence[ModelEmbedding]) -> list[str]:
    """Return how the parts were measured, what they are, and which were not measured."""
    parts = [part for model in measured for part in model.parts]
    described = {part.name: part.description for part in parts}
    notes = [
        "The parts took turns. Speeds are medians of the rounds, with the lowest and the highest. Memory is the most of"
        " all processes of a part together.",
        *(f"{name}: {description}." for name, description in described.items()),
        *busy_notes([part.others for part in parts]),
    ]
    notes += [
        f"{model.model}, {part.name}: not measured: {part.missing}"
        for model in measured
        for part in model.parts
        if part.missing
    ]
    return notes + [INT8_NOTE] * any("int8" in model.model and int8_overflows() for model in measured)

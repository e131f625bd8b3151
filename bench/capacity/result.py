"""The result of `cbir-bench plan`, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from cbir.evaluation.sections import Section
from cbir.models.card import ModelCard, ModelRef
from cbir.tables import Cell, Column, Table

from ..core.subject import Result, Subject
from .plan import INT8, Options, Plan
from .probe import ImageCosts, IndexCosts

_CORES = 64

INDEX_COLUMNS = (
    Column("images, index"),
    Column("vectors", "GB", ".3g"),
    Column("log", "GB", ".3g"),
    Column("index", "GB", ".3g"),
    Column("RAM", "GB", ".3g"),
    Column("embedding", "core-h", ".3g"),
    Column("building", "core-h", ".3g"),
    Column(f"on {_CORES} cores", "h", ".3g"),
)
SERVER_COLUMNS = (
    Column("images, layout"),
    Column("RAM", "GB", ".3g"),
    Column("disk", "GB", ".3g"),
    Column("servers", format=",d"),
    Column("replicas", format="d"),
)


@dataclass(frozen=True, kw_only=True)
class PlanResult(Result):
    """What numbers of images need, and what was measured to find out."""

    model: ModelRef
    options: Options
    images: ImageCosts
    indexes: list[IndexCosts]
    plans: list[Plan]


def notes(options: Options, card: ModelCard, plans: Sequence[Plan]) -> list[str]:
    """Return what a reader needs to know of the numbers."""
    found = [
        "Core-hours are processor time. Embedding and building are assumed to spread evenly over cores. Building is"
        " extrapolated from a small index. A graph larger than the processor's cache can take twice as long, and"
        " building it takes up to three times the index's size in RAM.",
        "RAM and disk of servers count all replicas, plus a fifth, by the formulas of Qdrant's capacity planning.",
    ]
    if options.dimension != card.dimension:
        found.append(
            f"{card.name} makes vectors of {card.dimension} dimensions. Its time is used for vectors of"
            f" {options.dimension} (`cbir-export head --dimension` makes such a model)."
        )
    if any(plan.recommended.layout == INT8 for plan in plans):
        found.append("Quantized vectors find a little less. Measure it with `cbir-bench parity` before you rely on it.")
    return found


def present(result: PlanResult) -> Section:
    """Return the section that shows a result: a store for each number of images, and what it needs."""
    images, node = result.images, result.options.node_bytes / 1e9
    index_rows: list[list[Cell]] = []
    server_rows: list[list[Cell]] = []
    verdicts = []
    for plan in result.plans:
        name, best = short(plan.images), plan.recommended
        servers = f"{best.nodes:,} server{'s' if best.nodes > 1 else ''} of {node:,.0f} GB"
        verdicts.append(f"{name} images: {servers}, {best.layout}: --store '{plan.url}'")
        for index in plan.indexes:
            sizes = (plan.vector_bytes, plan.log_bytes, index.disk_bytes, index.ram_bytes)
            hours = (plan.embedding_core_hours, index.core_hours)
            index_rows.append([f"{name}, {index.name}", *(size / 1e9 for size in sizes), *hours, sum(hours) / _CORES])
        for server in plan.servers:
            gigabytes = (server.ram_bytes / 1e9, server.disk_bytes / 1e9)
            server_rows.append([f"{name}, {server.layout}", *gigabytes, server.nodes, plan.replicas])
    probes = [
        f"{index.name}: {index.points / index.core_seconds:,.0f} vectors a second and core,"
        f" {index.disk_bytes / index.points:,.0f} bytes each ({index.points:,} made-up vectors)"
        for index in result.indexes
    ]
    subject = (
        f"{result.model.name}, {result.options.dimension} dimensions. Measured here: {1 / images.core_seconds:,.0f}"
        f" images a second and core, thumbnails of {images.thumbnail_bytes / 1e3:,.1f} kB ({images.count:,} of"
        f" {images.source}); {'; '.join(probes)}."
    )
    parts = [
        Table("Embedded index", INDEX_COLUMNS, index_rows),
        Table("Qdrant servers, all replicas together", SERVER_COLUMNS, server_rows),
    ]
    return Section("What will more images need?", subject, verdicts, parts, result.notes)


def short(count: int) -> str:
    """Return a number of images in short form: 1 M, 250 K, 12,345."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size and count * 10 % size == 0:
            return f"{count / size:g} {unit}"
    return f"{count:,}"


SUBJECT = Subject("plan", PlanResult, present)

"""The result of `cbir-bench plan`, and how it is shown."""

from dataclasses import dataclass, field

from cbir.evaluation.result_files import Result
from cbir.evaluation.sections import Section
from cbir.models.card import ModelRef

from ..core.rows import typed_table
from ..core.subject import Subject
from .built import BuiltIndex, BuiltLog
from .plan import IndexPlan, Options, Plan, ServerPlan
from .probe import ImageCosts, IndexCosts

NOTES = (
    "Core-hours are processor time. Embedding and building are assumed to spread evenly over cores. Building is"
    " extrapolated from a small index. A graph larger than the processor's cache can take twice as long, and building"
    " it takes up to three times the index's size in RAM.",
    "RAM and disk of servers count all replicas, plus a fifth, by the formulas of Qdrant's capacity planning.",
    "Vectors of another length than the model's (--dimension) are planned with the model's time. `cbir-export head"
    " --dimension` makes a model for them.",
    "Quantized vectors find a little less. Measure it with `cbir-bench parity` before you rely on it.",
)
BUILT_NOTE = (
    "Measured indexes are of clustered vectors. Each is built by its own process. All are searched by turns, at the"
    " smallest ef or nprobe with a recall@10 of at least {recall}, or at the one that finds most. Times are medians of"
    " five rounds of 100 queries, one after the other."
)


@dataclass(frozen=True, kw_only=True)
class PlanResult(Result):
    """What numbers of images need, and what was measured to find out; `built` and `logs` are measured in full."""

    model: ModelRef
    options: Options
    images: ImageCosts
    indexes: list[IndexCosts]
    plans: list[Plan]
    logs: list[BuiltLog] = field(default_factory=list)
    built: list[BuiltIndex] = field(default_factory=list)


def present(result: PlanResult) -> Section:
    """Return the section that shows a result: a store for each number of images, and what it needs."""
    images, plans = result.images, [(f"{plan.images:,}", plan) for plan in result.plans]
    verdicts = []
    for name, plan in plans:
        best = plan.recommended
        needed = f"{best.nodes:,} server{'s' if best.nodes > 1 else ''} of {result.options.node_gb:,.0f} GB"
        verdicts.append(f"{name} images: {needed}, {best.layout}: --store '{best.url}'")
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
    indexes = [(f"{name}, {index.name}", index) for name, plan in plans for index in plan.indexes]
    servers = [(f"{name}, {server.layout}", server) for name, plan in plans for server in plan.servers]
    parts = [
        typed_table("Embedded index", "images, index", IndexPlan, indexes),
        typed_table("Qdrant servers, all replicas together", "images, layout", ServerPlan, servers),
    ]
    if result.built:
        logs = [(f"{log.points:,}", log) for log in result.logs]
        built = [(f"{index.points:,}, {index.name}", index) for index in result.built]
        parts += [
            typed_table("Vector log as measured", "vectors", BuiltLog, logs),
            typed_table("Embedded index as measured", "vectors, index", BuiltIndex, built),
        ]
    return Section("What will more images need?", subject, verdicts, parts, result.notes)


SUBJECT = Subject("plan", PlanResult, present)

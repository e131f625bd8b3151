"""A plan and its check as tables for people and as JSON for programs."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cbir.evaluation.result_files import machine
from cbir.models.sealed import ModelRef

from ..parity.images import Pictures
from .plan import LAYOUTS, Asked, Sizing
from .predict import LIMITS, Check, Probe

FORMAT = 1
_WIDTH = 120
_PACKAGES = ("cbir", "qdrant-edge-py", "faiss-cpu", "onnxruntime", "numpy")
_COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "core_seconds": ("building, processor time", lambda value: duration(value / 3600)),
    "disk_bytes": ("files", lambda value: amount(value)),
    "build_bytes": ("memory to build", lambda value: amount(value)),
    "serve_bytes": ("memory to search", lambda value: amount(value)),
    "search_milliseconds": ("a search, processor time", lambda value: f"{value:,.2f} ms"),
}


def duration(hours: float) -> str:
    """Return a time as people say it."""
    seconds = hours * 3600
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 72 * 3600)):
        if seconds < most:
            return f"{seconds / length:,.3g} {unit}"
    return f"{hours / 24:,.0f} days"


def amount(count: float) -> str:
    """Return bytes in decimal units, three digits."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if count < 999.5:
            break
        count, unit = count / 1000, larger
    return f"{count:,.3g} {unit}"


def number(value: float) -> str:
    """Return a number with three digits, or all that stand before its point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def short(count: int) -> str:
    """Return a number of images as it may be given: 1 M, 250 K, 12,345."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size and count * 10 % size == 0:
            return f"{count / size:g} {unit}"
    return f"{count:,}"


def nodes(count: int) -> str:
    """Return a number of servers in words."""
    return f"{count:,} node{'s' if count > 1 else ''}"


def plan_json(
    asked: Asked, model: ModelRef, pictures: Pictures, probe: Probe, sizings: Sequence[Sizing], notes: Sequence[str]
) -> dict[str, Any]:
    """Return a plan, and what it was worked out from, as plain JSON values."""
    return {
        **_header("plan", notes),
        "model": asdict(model),
        "asked": asdict(asked),
        "pictures": asdict(pictures),
        "probe": asdict(probe),
        "plans": [asdict(sizing) for sizing in sizings],
    }


def check_json(probe: Probe, checks: Sequence[Check], notes: Sequence[str]) -> dict[str, Any]:
    """Return what was predicted and what was measured as plain JSON values."""
    found = [{**asdict(one), "factors": one.factors(), "missed": one.missed()} for one in checks]
    return {**_header("plan-check", notes), "probe": asdict(probe), "limits": LIMITS, "checks": found}


def _header(benchmark: str, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "notes": list(notes),
        "versions": {name: version(name) for name in _PACKAGES},
        "machine": machine(),
    }


def show_plan(
    asked: Asked, model: ModelRef, pictures: Pictures, probe: Probe, sizings: Sequence[Sizing], notes: Sequence[str]
) -> None:
    """Print what was measured here, and a column for each number of images."""
    console = _console()
    console.print(f"Measured here, on {asked.cores} cores, for {asked.dimension} dimensions:")
    console.print(
        f"  {model.name}: {1 / pictures.core_seconds:,.1f} images/s a core from file to vector ({pictures.count:,} x"
        f" {pictures.source}, {amount(pictures.file_bytes)} a file); a thumbnail is {amount(pictures.thumbnail_bytes)}"
    )
    console.print(
        f"  vectors: {1e9 / (4 * asked.dimension):,.0f} a GB as they are, {1e9 / probe.log_bytes:,.0f} in the vector"
        " log without thumbnails"
    )
    for engine in probe.engines:
        costs, points = engine.whole.costs, engine.whole.points
        console.print(
            f"  {engine.name}, {points:,} vectors: {points / costs.core_seconds:,.0f} a second and core to build,"
            f" {costs.disk_bytes / points:,.0f} bytes each, {costs.search_milliseconds:.2f} ms a search"
            f" ({engine.whole.access})"
        )
    table = _table("", ["what", *(short(one.images) for one in sizings)])

    def row(name: str, cells: Iterable[str]) -> None:
        table.add_row(name, *cells)

    row("vectors, float32", (amount(one.vector_bytes) for one in sizings))
    row("embedding, core-hours", (number(one.embedding_core_hours) for one in sizings))
    names = [engine.name for engine in probe.engines]
    for name in names:
        row(f"building {name}, core-hours", (number(one.engines[name].core_seconds / 3600) for one in sizings))
    for cores in sizings[0].hours:
        row(f"  with {names[0]}, on {cores} cores", (duration(one.hours[cores]) for one in sizings))
    table.add_section()
    row("vector log with thumbnails", (amount(one.log_bytes) for one in sizings))
    row("  of that, thumbnails", (amount(one.thumbnail_bytes) for one in sizings))
    for name in names:
        for field, (what, told) in list(_COSTS.items())[1:]:
            row(f"{name}, {what}", (told(getattr(one.engines[name], field)) for one in sizings))
    table.add_section()
    row("server, replicas", (str(one.replicas) for one in sizings))
    for at, layout in enumerate(LAYOUTS):
        found = [one.servers[at] for one in sizings]
        row(f"  RAM, {layout.name}", (f"{amount(one.ram_bytes)}, {nodes(one.nodes)}" for one in found))
    row("  RAM, Qdrant's rule of thumb for one replica", (amount(one.rule_of_thumb_bytes) for one in sizings))
    row("  disk, as recommended", (amount(one.recommended.disk_bytes) for one in sizings))
    console.print(table)
    for sizing in sizings:
        console.print(
            f"{short(sizing.images)}: {sizing.recommended.layout}, {nodes(sizing.recommended.nodes)} of"
            f" {amount(asked.node_bytes)}: --store '{sizing.url}'",
            soft_wrap=True,
        )
    for note in notes:
        console.print(note)


def show_check(checks: Sequence[Check], notes: Sequence[str]) -> None:
    """Print what was predicted beside what was measured."""
    console = _console()
    table = _table(
        f"{checks[0].measured.points:,} vectors", ["index", "cost", "predicted", "measured", "factor", "limit"]
    )
    for one in checks:
        missed, factors = one.missed(), one.factors()
        for field, (name, told) in _COSTS.items():
            table.add_row(
                one.name if field == "core_seconds" else "",
                name,
                told(getattr(one.predicted, field)),
                told(getattr(one.measured.costs, field)),
                f"{factors[field]:.2f}",
                f"{LIMITS[field]:g}{' MISSED' if field in missed else ''}",
            )
    console.print(table)
    for one in checks:
        console.print(
            f"{one.name}: built in {duration(one.measured.seconds / 3600)} by the clock; recall@10"
            f" {one.measured.recall:.4f} ({one.measured.access})"
        )
    for note in notes:
        console.print(note)


def _console() -> Console:
    """Return a console as wide as the tables need; a narrower terminal breaks their lines itself."""
    console = Console(highlight=False, markup=False)
    console.width = max(_WIDTH, console.width) if sys.stdout.isatty() else _WIDTH
    return console


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for number, name in enumerate(columns):
        text = number == 0 or name == "cost"
        table.add_column(name, justify="left" if text else "right", no_wrap=True)
    return table

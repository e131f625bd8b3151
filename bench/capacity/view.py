"""A plan and its check, as JSON for programs and as sections for people."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from cbir.models.card import ModelRef

from ..core.document import Result, Section, Table
from ..core.results import envelope
from .pictures import Pictures
from .plan import LAYOUTS, Asked, Sizing
from .predict import LIMITS, Check, Probe

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
        **envelope("plan", _PACKAGES),
        "notes": list(notes),
        "model": asdict(model),
        "asked": asdict(asked),
        "pictures": asdict(pictures),
        "probe": asdict(probe),
        "plans": [asdict(sizing) for sizing in sizings],
    }


def check_json(probe: Probe, checks: Sequence[Check], notes: Sequence[str]) -> dict[str, Any]:
    """Return what was predicted and what was measured as plain JSON values."""
    told = {"notes": list(notes), "probe": asdict(probe), "limits": LIMITS, "checks": [asdict(one) for one in checks]}
    return {**envelope("plan-check", _PACKAGES), **told}


def plan_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `plan`: what was measured here, and a column for each number of images."""
    asked, pictures, engines = result["asked"], result["pictures"], result["probe"]["engines"]
    plans, names = result["plans"], [one["name"] for one in engines]
    measured = [
        [
            "embedding, images/s a core from file to vector",
            f"{1 / pictures['core_seconds']:,.1f} ({pictures['count']:,} x {pictures['source']})",
        ],
        ["bytes of a file, of a thumbnail", f"{amount(pictures['file_bytes'])}, {amount(pictures['thumbnail_bytes'])}"],
        ["vectors a GB, as they are", f"{1e9 / (4 * asked['dimension']):,.0f}"],
        ["vectors a GB, in the vector log without thumbnails", f"{1e9 / result['probe']['log_bytes']:,.0f}"],
    ]
    for one in engines:
        costs, points = one["whole"]["costs"], one["whole"]["points"]
        told = (
            f"{points / costs['core_seconds']:,.0f} a second and core to build, {costs['disk_bytes'] / points:,.0f}"
            f" bytes each, {costs['search_milliseconds']:.2f} ms a search ({one['whole']['access']})"
        )
        measured.append([f"{one['name']}, {points:,} vectors", told])
    rows: list[list[str]] = []

    def row(name: str, cells: Iterable[str]) -> None:
        rows.append([name, *cells])

    row("vectors, float32", (amount(one["vector_bytes"]) for one in plans))
    row("embedding, core-hours", (number(one["embedding_core_hours"]) for one in plans))
    for name in names:
        row(f"building {name}, core-hours", (number(one["engines"][name]["core_seconds"] / 3600) for one in plans))
    for cores in plans[0]["hours"]:
        row(f"  with {names[0]}, on {cores} cores", (duration(one["hours"][cores]) for one in plans))
    row("vector log with thumbnails", (amount(one["log_bytes"]) for one in plans))
    row("  of that, thumbnails", (amount(one["thumbnail_bytes"]) for one in plans))
    for name in names:
        for field, (what, told_as) in list(_COSTS.items())[1:]:
            row(f"{name}, {what}", (told_as(one["engines"][name][field]) for one in plans))
    row("server, replicas", (str(one["replicas"]) for one in plans))
    for at, layout in enumerate(LAYOUTS):
        found = [one["servers"][at] for one in plans]
        row(f"  RAM, {layout.name}", (f"{amount(one['ram_bytes'])}, {nodes(one['nodes'])}" for one in found))
    row("  RAM, Qdrant's rule of thumb for one replica", (amount(one["rule_of_thumb_bytes"]) for one in plans))
    row("  disk, as recommended", (amount(one["recommended"]["disk_bytes"]) for one in plans))
    urls = [
        f"{short(one['images'])}: {one['recommended']['layout']}, {nodes(one['recommended']['nodes'])} of"
        f" {amount(asked['node_bytes'])}: --store '{one['url']}'"
        for one in plans
    ]
    parts = [
        Table(f"Measured here, on {asked['cores']} cores", ["what", "figure"], measured),
        Table("", ["what", *(short(one["images"]) for one in plans)], rows),
    ]
    question = f"{result['model']['name']}, {asked['dimension']} dimensions."
    return Section("What will more images take?", question, command, parts, [*urls, *result["notes"]])


def check_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `plan --check`: what was predicted beside what was measured."""
    checks, rows = result["checks"], []
    for one in checks:
        for field, (name, told) in _COSTS.items():
            missed = " MISSED" if field in one["missed"] else ""
            figures = told(one["predicted"][field]), told(one["measured"]["costs"][field])
            factor = f"{one['factors'][field]:.2f}"
            rows.append([f"{one['name']}, {name}", *figures, factor, f"{result['limits'][field]:g}{missed}"])
    columns = ["index, cost", "predicted", "measured", "factor", "limit"]
    built = [
        f"{one['name']}: built in {duration(one['measured']['seconds'] / 3600)} by the clock; recall@10"
        f" {one['measured']['recall']:.4f} ({one['measured']['access']})"
        for one in checks
    ]
    question = f"{checks[0]['measured']['points']:,} vectors."
    return Section("Is the plan right?", question, command, [Table("", columns, rows)], [*built, *result["notes"]])

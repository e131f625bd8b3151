"""What was measured, as tables for people and as JSON for programs."""

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cbir.errors import CbirError, UsageError
from cbir.evaluation.result_files import keep, machine
from cbir.index.files import write_whole
from cbir.settings import Settings
from cbir.stores.base import StoreInfo

from ..core.workload import ORDINARY, Subject, how, notes
from ..parity.ranking import EPSILON

FORMAT = 1
WIDTH = 100
STDOUT = "-"
_WHOLE = ("store", "stores", "search", "phase", "against", "metric", "model", "and", "better", "candidate")
_TEXT = (
    *_WHOLE,
    "worst query",
    "URL",
    "ordinary search",
    "filter",
    "model",
    "precision",
    "provider",
    "figure",
    "class",
)
_PACKAGES = ("cbir", "qdrant-edge-py", "qdrant-client", "faiss-cpu", "numpy")

log = logging.getLogger(__name__)


def header(subject: Subject, benchmark: str) -> dict[str, Any]:
    """Return what identifies a result: what was asked of what, with which versions on which machine."""
    return {
        "benchmark": benchmark,
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "collection": subject.collection,
        "model": asdict(subject.infos[0].model),
        "settings": {
            "k": subject.k,
            "queries": len(subject.queries),
            "seed": subject.seed,
            "epsilon": EPSILON,
        },
        "counts": {
            "points": subject.infos[0].count,
            "exact_copies": subject.copies,
            "queries_tied_at_k": int(subject.truth.tied.sum()),
        },
        "stores": [
            {
                "store": info.url,
                "generation": info.generation,
                "access": info.access,
                "searched": how(info, ORDINARY),
                "points": info.count,
                "points_indexed": info.indexed,
                "options": dict(info.options),
            }
            for info in subject.infos
        ],
        "notes": notes(subject),
        "versions": {name: version(name) for name in _PACKAGES},
        "machine": machine(),
    }


def check_target(target: str | None) -> None:
    """Raise `UsageError` unless a result can be written there; asked before anything is measured."""
    if target is None or target == STDOUT:
        return
    hint = "name a file in a folder that you may write to, or - for standard output"
    try:
        path = Path(target).resolve()
        if path.exists() and not path.is_file():
            raise UsageError(f"--json {target} is not a file: {hint}")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise UsageError(f"--json {target}: {hint}")
    except (OSError, RuntimeError):  # a name too long, a folder that is closed, a loop of links
        raise UsageError(f"--json {target}: {hint}") from None


def write_json(target: str, result: dict[str, Any]) -> None:
    """Write a result: to standard output for "-", else beside the file (that a link leads to) and renamed.

    Raises:
        CbirError: It cannot be written.
    """
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if target == STDOUT:
        sys.stdout.write(text)
        return
    check_target(target)
    path = Path(target).resolve()
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise CbirError(f"cannot write {target}: {error.strerror}") from None


def deliver(target: str | None, result: dict[str, Any], settings: Settings) -> None:
    """Write a result where it was asked for, and keep it as the latest of its kind; that it cannot be kept is said."""
    try:
        keep(result, settings.reports)
    except CbirError as error:
        log.warning("%s", error)
    if target:
        write_json(target, result)


def labels(infos: Sequence[StoreInfo]) -> dict[str, str]:
    """Return a short name for each store: its kind, numbered where there are several of a kind."""
    kinds = ["server" if info.url.startswith("http") else info.url.partition(":")[0] for info in infos]
    return {
        info.url: kind if kinds.count(kind) == 1 else f"{kind} {kinds[: at + 1].count(kind)}"
        for at, (info, kind) in enumerate(zip(infos, kinds, strict=True))
    }


def show_subject(console: Console, subject: Subject, names: dict[str, str]) -> None:
    """Print what is measured, and what one has to know of it."""
    info = subject.infos[0]
    console.print(f"{subject.collection}: {info.count:,} points, {info.model.dimension} dimensions")
    if info.model.random_weights:
        console.print(f"WARNING: the model {info.model.name} has random weights; its neighbours mean nothing.")
    table = new_table("", ["store", "URL", "ordinary search"])
    for one in subject.infos:
        table.add_row(names[one.url], one.url, how(one, ORDINARY))
    console.print(table)
    for note in notes(subject):
        console.print(note)


def new_console() -> Console:
    """Return a console at least as wide as the tables need; a narrower terminal breaks their lines itself."""
    console = Console(highlight=False, markup=False)
    console.width = max(WIDTH, console.width) if sys.stdout.isatty() else WIDTH
    return console


def new_table(title: str, columns: Sequence[str]) -> Table:
    """Return an empty table; figures stand on the right."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD, collapse_padding=True)
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXT else "right", overflow="fold", no_wrap=name in _WHOLE)
    return table


def share(value: float | None) -> str:
    """Return a share with the digits that tell good recalls apart."""
    return "-" if value is None else f"{value:.4f}"


def short(value: float | None) -> str:
    """Return a figure in two digits behind the point."""
    return "-" if value is None else f"{value:.2f}"

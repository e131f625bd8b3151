"""A result as JSON: what identifies it, and where it goes."""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cbir.errors import CbirError
from cbir.evaluation.result_files import keep, machine
from cbir.index.files import write_atomically
from cbir.settings import Settings

from .options import STDOUT, json_target
from .ranking import EPSILON
from .workload import ORDINARY, Workload, notes, search_method

_PACKAGES = ("cbir", "qdrant-edge-py", "qdrant-client", "faiss-cpu", "numpy")

INT8_NOTE = (
    "This processor has no VNNI: cbir runs int8 in an exact and slower way here, a baseline in the ordinary one, whose"
    " sums overflow."
)

log = logging.getLogger(__name__)


def envelope(benchmark: str, packages: Sequence[str] = _PACKAGES) -> dict[str, Any]:
    """Return what every result has: the kind of benchmark, and when and where it ran with which versions."""
    return {
        "benchmark": benchmark,
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in packages},
        "machine": machine(),
    }


def header(workload: Workload, benchmark: str) -> dict[str, Any]:
    """Return what identifies a result of stores: also what was asked of what."""
    return {
        **envelope(benchmark),
        "collection": workload.collection,
        "model": asdict(workload.infos[0].model),
        "settings": {"k": workload.k, "queries": len(workload.queries), "seed": workload.seed, "epsilon": EPSILON},
        "counts": {
            "points": workload.infos[0].count,
            "exact_copies": workload.copies,
            "queries_tied_at_k": int(workload.truth.tied.sum()),
        },
        "stores": [
            {
                "store": info.url,
                "generation": info.generation,
                "access": info.access,
                "searched": search_method(info, ORDINARY),
                "points": info.count,
                "points_indexed": info.indexed,
                "options": dict(info.options),
            }
            for info in workload.infos
        ],
        "notes": notes(workload),
    }


def write_json(target: str, result: dict[str, Any]) -> None:
    """Write a result: to standard output for "-", else beside the file (that a link leads to) and renamed."""
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if target == STDOUT:
        sys.stdout.write(text)
        return
    path = Path(json_target(target) or "").resolve()
    try:
        write_atomically(path, text.encode())
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

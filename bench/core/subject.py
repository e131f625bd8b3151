"""What a subject of the bench is: a typed result, and the section that shows it."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from cbir import terminal
from cbir.errors import CbirError
from cbir.evaluation.result_files import Result, keep, machine
from cbir.evaluation.sections import Section
from cbir.index.files import write_atomically
from cbir.models.card import ModelRef
from cbir.settings import Settings
from cbir.stores.base import StoreInfo
from cbir.tables import to_rich

from .options import STDOUT
from .stores import unique_names
from .verdicts import processor_features
from .workload import Workload, notes

PACKAGES = ("cbir", "qdrant-edge-py", "qdrant-client", "faiss-cpu", "onnxruntime", "numpy", "scipy", "pillow")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StoreResult(Result):
    """What every result of a collection in several stores has; the notes say how queries and ties are treated."""

    collection: str
    model: ModelRef
    k: int
    queries: int
    seed: int
    points: int
    stores: list[StoreInfo]

    def name_of(self, url: str) -> str:
        """Return a store's short name, which no other store of the result has."""
        return unique_names([*(info.url for info in self.stores), url])[url]


R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Subject(Generic[R]):
    """One subject of the bench: the name of its command and results, their class, and what shows one."""

    name: str
    result: type[R]
    present: Callable[[R], Section]

    @cached_property
    def _adapter(self) -> TypeAdapter[R]:
        return TypeAdapter(self.result)

    def load(self, content: Any) -> R:
        """Return the result that plain JSON values hold; `CbirError` if it is another, or that of another version."""
        try:
            return self._adapter.validate_python(content)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise CbirError(
                f"Cannot read a result of `cbir-bench {self.name}`: {field}: {first['msg']}."
                " Another version of cbir may have made it. Measure it again."
            ) from None

    def dump(self, result: R) -> dict[str, Any]:
        """Return a result as plain JSON values."""
        content: dict[str, Any] = self._adapter.dump_python(result, mode="json")
        return content


def envelope(name: str, notes: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `Result`: when, where and with which versions, now and here."""
    return {
        "benchmark": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {package: version(package) for package in PACKAGES},
        "machine": machine() | {"features": processor_features()},
        "notes": list(notes),
    }


def store_envelope(name: str, workload: Workload, more_notes: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `StoreResult` for a workload."""
    first = workload.infos[0]
    return {
        **envelope(name, [*notes(workload), *more_notes]),
        "collection": workload.collection,
        "model": first.model,
        "k": workload.k,
        "queries": len(workload.vectors),
        "seed": workload.seed,
        "points": len(workload.truth.vectors),
        "stores": list(workload.infos),
    }


def deliver(subject: Subject[R], result: R, json_file: str | None, complete: bool = True) -> None:
    """Keep a result as the latest of its subject if it is complete, write its JSON if wanted, and print its section."""
    content, section = subject.dump(result), subject.present(result)
    try:
        if complete:
            keep(content, Settings().reports, section=section)
    except CbirError as error:
        log.warning("%s", error)
    if json_file:
        write_json(json_file, content)
    if json_file != STDOUT:
        if isinstance(result, StoreResult) and result.model.random_weights:
            log.warning("The model %s has random weights. Its neighbours mean nothing.", result.model.name)
        console = terminal.console()
        for verdict in section.verdicts:
            console.print(verdict, style="bold")
        for part in (section.subject, *map(to_rich, section.tables), *section.notes):
            console.print(part)


def write_json(target: str, content: dict[str, Any]) -> None:
    """Write JSON values to standard output for "-", or else to a file, whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if target == STDOUT:
        sys.stdout.write(text)
        return
    try:
        write_atomically(Path(target).resolve(), text.encode())
    except OSError as error:
        raise CbirError(f"Cannot write {target}: {error.strerror}.") from None

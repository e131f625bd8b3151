"""The latest report of each kind that `cbir-bench` made, kept as JSON for the page.

A file is one envelope: what was measured, when, by which command, on which machine and with which version. Its
result is the very JSON that `--json` writes. Whoever reads a folder of reports trusts none of them: a file that is too
large, or is no report, is left out and named.
"""

import json
import os
import platform
import re
import shlex
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError

from cbir.errors import CbirError
from cbir.evaluation.sections import Section
from cbir.index.files import write_atomically
from cbir.text import redacted

SCHEMA = 2
MAX_BYTES = 16 * 2**20
_KIND = r"[a-z][a-z0-9-]{0,39}"
_FOLDERS = re.compile(r"(?<![\w./])/(?:[^\s/'\"]+/)+")
_Line = Annotated[str, Field(max_length=10_000)]


@dataclass(frozen=True)
class Report:
    """One result of the bench with its section. `kind` is the subject, and `command` contains no passwords."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Annotated[str, Field(pattern=f"^{_KIND}$")]
    created: AwareDatetime
    cbir_version: _Line
    command: _Line
    machine: dict[_Line, _Line | int | None]
    result: dict[str, Any] = field(repr=False)
    section: Section | None = field(default=None, repr=False)
    schema: int = SCHEMA


_REPORT = TypeAdapter(Report)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What every result has. `benchmark` is its subject, `created` in ISO 8601; `notes` say how it was measured."""

    benchmark: str
    created: str
    versions: dict[str, str]
    machine: dict[str, Any]
    notes: list[str]


def machine() -> dict[str, Any]:
    """Return what a figure depends on besides the programs: Python, platform and number of processors."""
    return {"python": platform.python_version(), "platform": platform.platform(), "cpus": os.cpu_count()}


def keep(
    result: dict[str, Any],
    folder: Path,
    arguments: Sequence[str] | None = None,
    section: Section | None = None,
    program: str = "cbir-bench",
) -> Path:
    """Write a result as the latest of its kind, which is its `benchmark`, whole or not at all, and return the file.

    `arguments` are those of the program; None means those of this process.

    Raises:
        CbirError: The file cannot be written, or is larger than `MAX_BYTES`.
    """
    kind = str(result["benchmark"])
    words = [program, *(sys.argv[1:] if arguments is None else arguments)]
    now = datetime.now(UTC).replace(microsecond=0)
    report = Report(kind, now, version("cbir"), redacted(shlex.join(words)), machine() | _processor(), result, section)
    content = {**asdict(report), "created": now.isoformat()}
    data = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
    if len(data) > MAX_BYTES:
        raise CbirError(f"the report was not kept for the page: it has more than {MAX_BYTES >> 20} MB")
    path = folder / f"{kind}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise CbirError(f"the report was not kept for the page: {path}: {error.strerror}; see CBIR_REPORTS") from None
    return path


def latest(folder: Path) -> tuple[list[Report], list[str]]:
    """Return the reports of a folder by kind, and a note for each file in it that is none."""
    found, notes = [], []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            found.append(_read(path))
        except ValueError as error:
            notes.append(f"{path.name} is left out: {error}")
    return found, notes


def _read(path: Path) -> Report:
    """Return the report in a file; raise `ValueError`, saying why, if there is none."""
    try:
        with open(path, "rb", opener=_open_file) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MB")
    try:
        content = json.loads(data, parse_constant=_refuse)
        schema = content.get("schema") if isinstance(content, dict) else None
        if isinstance(schema, int) and schema != SCHEMA:
            raise ValueError(f"another version of cbir wrote it (schema {schema})")
        report = _REPORT.validate_python(content)
    except ValidationError:
        raise ValueError("it is no report of cbir-bench") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError("it is not JSON") from None
    if path.stem != report.kind:
        raise ValueError(f"it is a report of the kind {report.kind}")
    return report


def _open_file(path: str, flags: int) -> int:
    handle = os.open(path, flags | os.O_NONBLOCK)  # a named pipe would wait for its writer for ever
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is not a file")
    return handle


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no figure")


def _processor() -> dict[str, str]:
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return {"processor": str(found[1]).strip()}
    return {"processor": platform.processor()} if platform.processor() else {}


def model_name(name: str, precision: str) -> str:
    """Return a model's name with its precision, once."""
    return name if precision in name else f"{name} ({precision})"


def shortened(text: str) -> str:
    """Return the text with the folders of absolute paths left out: `edge:/home/me/index` is `edge:…/index`."""
    return _FOLDERS.sub("…/", text)

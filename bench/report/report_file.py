"""`report.json`: everything that a report was made of, so that it can be read by programs, compared and made again."""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError

import cbir
from cbir.errors import UsageError
from cbir.evaluation.result_files import Report, machine, shortened

from .comparison import Figure, figures

SCHEMA_FILE = "report.schema.json"
_LARGEST = 256 * 2**20
_UPWARDS = re.compile(r"(?<![\w./])\.\./(?:[^\s/'\"]+/)+")
_PICTURES = "pictures"  # base64, whose slashes are none


@dataclass(frozen=True)
class FullReport:
    """A report.

    Attributes:
        created: When it was put together, ISO 8601 in UTC.
        cbir_version: By which version.
        commit: Of the source that it was made with, None where that is not a repository; "+" where it was changed.
        machine: Where: Python, platform and number of processors.
        figures: What two reports can be compared by.
        results: What was measured, each with its command, time, machine and version.
        kind: Always "report".
        schema: Version of this form.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    created: AwareDatetime
    cbir_version: str
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}\+?$")] | None
    machine: dict[str, str | int | None]
    figures: list[Figure]
    results: list[Report] = field(repr=False)
    kind: Literal["report"] = "report"
    schema: Literal[1] = 1


_ADAPTER = TypeAdapter(FullReport)


def put_together(reports: Sequence[Report]) -> FullReport:
    """Return the report of some results, now and here, without the folders of this machine."""
    shown = [
        replace(one, command=_without_folders(one.command), result=_without_folders(one.result)) for one in reports
    ]
    found = [figure for one in shown for figure in figures(one.result)]
    now = datetime.now(UTC).replace(microsecond=0)
    return FullReport(now, cbir.__version__, _commit(), machine(), found, shown)


def as_json(report: FullReport) -> str:
    """Return a report as JSON text."""
    told = json.dumps(asdict(report), default=datetime.isoformat, indent=1, ensure_ascii=False, allow_nan=False)
    return told + "\n"


def schema() -> str:
    """Return the JSON schema of a report, as text."""
    return json.dumps(_ADAPTER.json_schema(), indent=1) + "\n"


def read_report(path: Path) -> FullReport:
    """Return the report in a file."""
    return _report(_read(path), path)


def figures_in(path: Path) -> list[Figure]:
    """Return the figures of a file: of a report, or of one result that --json wrote."""
    content = _read(path)
    if isinstance(content, dict) and "benchmark" in content:
        return figures(content)
    return _report(content, path).figures


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is too large for a report of cbir-bench")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON") from None


def _report(content: Any, path: Path) -> FullReport:
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its whole"
        raise UsageError(f"{path} is no report.json of cbir-bench report: {where}: {first['msg']}") from None


def _without_folders(value: Any) -> Any:
    """Return a JSON value with the folders of absolute paths, and of those that lead upwards, left out."""
    if isinstance(value, str):
        return _UPWARDS.sub("…/", shortened(value))
    if isinstance(value, dict):
        return {name: one if name == _PICTURES else _without_folders(one) for name, one in value.items()}
    return [_without_folders(one) for one in value] if isinstance(value, list) else value


def _commit() -> str | None:
    folder = Path(__file__).resolve().parent.parent
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", "*.py")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

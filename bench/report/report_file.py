"""`report.json`: all results of a report, so that programs can read, compare and render it."""

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

from ..registry import SUBJECTS

_LARGEST = 256 * 2**20
_UPWARDS = re.compile(r"(?<![\w./])\.\./(?:[^\s/'\"]+/)+")
_IMAGES = "images"  # base64, whose slashes are no folders


@dataclass(frozen=True)
class FullReport:
    """A report: what was measured, and when, where and by which version it was put together.

    `commit` is that of the source, None without a repository; it ends in "+" where the source was changed.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    created: AwareDatetime
    cbir_version: str
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}\+?$")] | None
    machine: dict[str, str | int | None]
    results: list[Report] = field(repr=False)
    kind: Literal["report"] = "report"
    schema: Literal[2] = 2


_ADAPTER = TypeAdapter(FullReport)


def put_together(reports: Sequence[Report]) -> FullReport:
    """Return the report of some results, now and here, without the folders of this machine."""
    now = datetime.now(UTC).replace(microsecond=0)
    return FullReport(now, cbir.__version__, _commit(), machine(), [_presented(report) for report in reports])


def as_json(report: FullReport) -> str:
    """Return a report as JSON text."""
    content = asdict(report)
    return json.dumps(content, default=datetime.isoformat, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def schema() -> str:
    """Return the JSON schema of a report, as text."""
    return json.dumps(_ADAPTER.json_schema(), indent=1) + "\n"


def read_results(path: Path) -> list[Report]:
    """Return the results in a file: of a report, or the one that `--json` wrote.

    Raises:
        UsageError: There are none.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is too large for a report of cbir-bench")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON") from None
    if isinstance(content, dict) and content.get("benchmark") in SUBJECTS:
        subject = SUBJECTS[content["benchmark"]]
        section = subject.present(subject.load(content))
        return [Report(subject.name, datetime.now(UTC), cbir.__version__, "", {}, content, section)]
    try:
        return _ADAPTER.validate_python(content).results
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"{path} is not a report.json of `cbir-bench report`: {place}: {first['msg']}") from None


def _presented(report: Report) -> Report:
    """Return a result with the section that this version shows it as, without folders."""
    subject, result = SUBJECTS[report.kind], _without_folders(report.result)
    section = subject.present(subject.load(result))
    return replace(report, command=_without_folders(report.command), result=result, section=section)


def _without_folders(value: Any) -> Any:
    """Return a JSON value without the folders of absolute paths, and of those that lead upwards."""
    if isinstance(value, str):
        return _UPWARDS.sub("…/", shortened(value))
    if isinstance(value, dict):
        return {name: inner if name == _IMAGES else _without_folders(inner) for name, inner in value.items()}
    return [_without_folders(inner) for inner in value] if isinstance(value, list) else value


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

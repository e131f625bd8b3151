"""A report written into a folder: JSON with its schema, Markdown, and HTML that is made of it.

The HTML file holds everything and loads nothing from the network. Markdown cannot hold images, so they are files next
to it.
"""

import base64
import itertools
import json
import re
import subprocess
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter

import cbir
from cbir.errors import CbirError, UsageError
from cbir.evaluation.result_files import Report, latest, machine, shortened
from cbir.evaluation.sections import Bars, Curves, Part, Section, Strip
from cbir.index.files import write_atomically
from cbir.tables import plain, to_markdown

from ..registry import SUBJECTS
from .plots import draw

_WIDTH = 120
_UPWARDS = re.compile(r"(?<![\w./])\.\./(?:[^\s/'\"]+/)+")
_IMAGES = "images"  # base64, whose slashes are no folders
_SHOWN = re.compile(r"!\[(?:\\.|[^\]\\])*\]\(((?:plots|images)/[\w-]+\.(?:svg|jpg))\)")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2421; --soft: #5b6763; --line: #d8dedb; --paper: #fff; --fill: #f4f7f5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebe9; --soft: #a5b1ac; --line: #39433f; --paper: #141917; --fill: #1d2421; }
  svg { background: #fff; border-radius: 6px; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 72rem; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; text-align: left; } svg { max-width: 100%; height: auto; }
img { width: 64px; height: 64px; object-fit: contain; background: var(--fill); vertical-align: middle; }
small { display: block; color: var(--soft); } pre { padding: .7rem; overflow: auto; background: var(--fill); }
ul { padding-left: 1.2rem; } li { margin: .2rem 0; }
"""


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


REPORT = TypeAdapter(FullReport)
_SECTION = TypeAdapter(Section)


def collect(folders: Sequence[Path]) -> list[Report]:
    """Return the kept results of some folders, in the order of the report; every folder must have some."""
    found: list[Report] = []
    for folder in folders:
        reports, problems = latest(folder)
        if problems:
            raise UsageError(f"{folder}: {problems[0]}")
        if not reports:
            raise UsageError(f"No results in {folder}. Measure something first, such as: cbir-bench latency")
        found += [report for report in reports if report.kind in SUBJECTS]
    return sorted(found, key=lambda report: list(SUBJECTS).index(report.kind))


def write(folder: Path, title: str, results: Sequence[Report]) -> list[Path]:
    """Write a report of results into a folder, without the folders of this machine, and return its files."""
    now = datetime.now(UTC).replace(microsecond=0)
    report = FullReport(now, cbir.__version__, _commit(), machine(), [_presented(result) for result in results])
    markdown, images = as_markdown(report, title)
    files = {
        "report.html": as_html(report, title).encode(),
        "report.md": markdown.encode(),
        "report.json": _json(asdict(report)),
        "report.schema.json": _json(REPORT.json_schema()),
        **images,
    }
    try:
        for name in _shown_before(folder) - files.keys():
            (folder / name).unlink(missing_ok=True)
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
    except OSError as error:
        raise CbirError(f"Cannot write the report: {error.filename or folder}: {error.strerror}.") from None
    return [folder / name for name in files if "/" not in name]


def _shown_before(folder: Path) -> set[str]:
    """Return the paths of the plots and images of the earlier report in a folder."""
    earlier = folder / "report.md"
    return set(_SHOWN.findall(earlier.read_text("utf-8", "replace"))) if earlier.is_file() else set()


def as_html(report: FullReport, title: str) -> str:
    """Return a report as one HTML file: its Markdown with contents, and with its plots and images inside."""
    from markdown_it import MarkdownIt

    text, files = as_markdown(report, title)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = re.sub(r'<img src="([^"]+)" alt="([^"]*)" />', lambda image: _embedded(image[2], files[image[1]]), body)
    body = re.sub(r"<(h[23])>(.*)</h", lambda found: f'<{found[1]} id="{_anchor(found[2])}">{found[2]}</h', body)
    titles = re.findall(r'<h2 id="([^"]+)">(.*)</h2>', body)
    contents = "".join(f'<li><a href="#{anchor}">{found}</a></li>' for anchor, found in titles)
    top, heading, sections = body.partition("<h2")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"{top}<ul>{contents}</ul>\n{heading}{sections}</body></html>\n"
    )


def as_markdown(report: FullReport, title: str) -> tuple[str, dict[str, bytes]]:
    """Return a report as Markdown, verdicts first, and the files that it shows by their path next to it."""
    files: dict[str, bytes] = {}
    found = [(result, result.section) for result in report.results if result.section is not None]
    verdicts = [verdict for _, section in found for verdict in section.verdicts]
    text = [f"# {plain(title)}", _list(verdicts), "How this was measured:", _list(_origin(report))]
    for result, section in found:
        text += [f"## {plain(section.title)}", _wrapped(plain(section.subject)), _list(section.verdicts)]
        text.append("\n".join(["```bash", *_command_lines(result.command), "```"]))
        text += [_markdown(part, files) for part in section.parts]
        if section.notes:
            text += ["### How to read this", _list(section.notes)]
    return "\n\n".join(part for part in text if part.strip()) + "\n", files


def _origin(report: FullReport) -> list[str]:
    """Return where, when and with which versions a report was made."""
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    versions: dict[str, str] = {}
    for result in report.results:
        versions |= result.result.get("versions", {})
    processors = {str(result.machine["processor"]) for result in report.results if result.machine.get("processor")}
    times = sorted(result.created for result in report.results)
    commit = f", commit {report.commit}" if report.commit else ""
    return [
        f"Put together {report.created:%Y-%m-%d %H:%M} UTC with cbir {report.cbir_version}{commit}",
        f"Machine: {', '.join([machine, *sorted(processors)])}",
        "Versions: " + ", ".join(f"{name} {number}" for name, number in sorted(versions.items())),
        f"Measured from {times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M} UTC",
    ]


def _command_lines(command: str) -> list[str]:
    """Return a command line in lines that fit, each but the last ended by a backslash."""
    lines = textwrap.wrap(
        " ".join(command.replace("```", "'''").split()), _WIDTH - 2, break_long_words=False, break_on_hyphens=False
    )
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _markdown(part: Part, files: dict[str, bytes]) -> str:
    match part:
        case Curves() | Bars():
            path = _add(files, f"plots/{part.name}", ".svg", draw(part).encode())
            return f"![{plain(part.caption)}]({path})"
        case Strip():
            lines = []
            for image in part.images:
                shown = ""
                if image.data is not None:
                    stem = f"images/{re.sub(r'[^A-Za-z0-9-]', '_', image.id)}"
                    shown = f"![]({_add(files, stem, '.jpg', base64.b64decode(image.data))}) "
                lines.append(shown + plain(image.caption))
            return _wrapped(plain(part.title)) + "\n\n" + "\n".join(lines)
        case table:
            return (_wrapped(f"**{plain(table.title)}**") + "\n\n" if table.title else "") + to_markdown(table)


def _add(files: dict[str, bytes], stem: str, suffix: str, data: bytes) -> str:
    """Add a file and return its path, which has a number if another file has its name."""
    paths = itertools.chain([stem + suffix], (f"{stem}-{number}{suffix}" for number in itertools.count(2)))
    path = next(path for path in paths if files.get(path, data) == data)
    files[path] = data
    return path


def _embedded(caption: str, data: bytes) -> str:
    """Return an image with its caption, which is HTML."""
    if data.startswith(b"<svg"):
        return f'<span role="img" aria-label="{caption}">{data.decode()}</span><small>{caption}</small>'
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'


def _list(lines: Sequence[str]) -> str:
    return "\n".join(_wrapped(f"- {plain(line)}", "  ") for line in lines)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _json(content: object) -> bytes:
    text = json.dumps(content, default=datetime.isoformat, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _presented(report: Report) -> Report:
    """Return a result with the section that this version shows it as, without folders."""
    subject, (command, result) = SUBJECTS[report.kind], _without_folders([report.command, report.result])
    section = subject.present(subject.load(report.result))  # without their folders, two stores may have the same URL
    return replace(
        report, command=command, result=result, section=_SECTION.validate_python(_without_folders(asdict(section)))
    )


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

"""A report written into a folder: HTML, Markdown with its images, JSON and the schema of the JSON."""

from collections.abc import Sequence
from pathlib import Path

from cbir.errors import CbirError, UsageError
from cbir.evaluation.result_files import Report, latest
from cbir.index.files import write_atomically

from ..registry import SUBJECTS
from .render import as_html, as_markdown
from .report_file import SCHEMA_FILE, as_json, put_together, schema


def collect(folders: Sequence[Path]) -> list[Report]:
    """Return the kept results of some folders, in the order of the report.

    Raises:
        UsageError: A folder has none, or a file that is not a result.
    """
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
    """Write a report of results into a folder and return its files, those for people first.

    Each file is written whole or not at all.
    """
    report = put_together(results)
    markdown, images = as_markdown(report, title)
    files = {
        "report.html": as_html(report, title).encode(),
        "report.md": markdown.encode(),
        "report.json": as_json(report).encode(),
        SCHEMA_FILE: schema().encode(),
        **images,
    }
    try:
        for name in ("plots", "images"):  # those of an earlier report
            for path in (folder / name).glob("*"):
                if f"{name}/{path.name}" not in files:
                    path.unlink()
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
    except OSError as error:
        raise CbirError(f"Cannot write the report: {error.filename or folder}: {error.strerror}.") from None
    return [folder / name for name in files if "/" not in name]

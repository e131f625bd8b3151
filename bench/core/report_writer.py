"""A report written into a folder: HTML, Markdown with its pictures, JSON and the schema of the JSON."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cbir.errors import CbirError, UsageError
from cbir.evaluation.result_files import Report, latest
from cbir.index.files import write_whole

from ..baselines.section import peers_section
from ..latency.store_sections import latency_section, parity_section
from ..report.document import Document, Section, as_html, as_markdown
from ..report.model_sections import accuracy_section, ingest_section, models_section
from ..report.report_file import SCHEMA_FILE, FullReport, as_json, made_by_another, put_together, schema

SECTIONS: Mapping[str, Callable[[Mapping[str, Any], str], Section]] = {
    "accuracy": accuracy_section,
    "parity": parity_section,
    "latency": latency_section,
    "models": models_section,
    "peers": peers_section,
    "ingest": ingest_section,
}
"""By benchmark, in the order of the report. What is not here stands in report.json alone."""


def collect(folders: Sequence[Path]) -> list[Report]:
    """Return the results that are kept in some folders, in the order of the report.

    Raises:
        UsageError: There is none, or a file among them is no result.
    """
    found: list[Report] = []
    for folder in folders:
        there, notes = latest(folder)
        if notes:
            raise UsageError(f"{folder}: {notes[0]}")
        if not there:
            raise UsageError(f"{folder} has no results; `cbir-bench latency`, for one, makes some")
        found += there
    order = list(SECTIONS)
    return sorted(found, key=lambda one: order.index(one.kind) if one.kind in order else len(order))


def document(report: FullReport, title: str) -> Document:
    """Return a report as a document.

    Raises:
        CbirError: Another version of cbir made a result.
    """
    sections = []
    for one in report.results:
        draw = SECTIONS.get(one.kind)
        if draw is None:
            continue
        try:
            sections.append(draw(one.result, one.command))
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise made_by_another(one.kind, error) from None
    return Document(title, _lines(report), sections)


def write(folder: Path, title: str, results: Sequence[Report]) -> list[Path]:
    """Write a report of results into a folder, each file whole or not at all, and return the files for people first.

    Raises:
        CbirError: It cannot be written, or a result is of another version.
    """
    report = put_together(results)
    made = document(report, title)
    markdown, pictures = as_markdown(made)
    files = {
        "report.html": as_html(made).encode(),
        "report.md": markdown.encode(),
        "report.json": as_json(report).encode(),
        SCHEMA_FILE: schema().encode(),
        **pictures,
    }
    try:
        for name in ("plots", "pictures"):  # those of an earlier report
            for path in (folder / name).glob("*"):
                if f"{name}/{path.name}" not in files:
                    path.unlink()
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
    except OSError as error:
        raise CbirError(f"the report cannot be written: {error.filename or folder}: {error.strerror}") from None
    return [folder / name for name in files if "/" not in name]


def _lines(report: FullReport) -> list[str]:
    """Return what it takes to make the report again."""
    where = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    versions: dict[str, str] = {}
    for one in report.results:
        versions |= one.result.get("versions", {})
    processors = {str(one.machine.get("processor")) for one in report.results if one.machine.get("processor")}
    seeds = {str(one.result["settings"]["seed"]) for one in report.results if "seed" in one.result.get("settings", {})}
    lines = [
        f"Put together {report.created:%Y-%m-%d %H:%M} UTC with cbir {report.cbir_version}"
        + (f", commit {report.commit}" if report.commit else ""),
        f"Machine: {where}" + (f", {', '.join(sorted(processors))}" if processors else ""),
        "Versions: " + ", ".join(f"{name} {number}" for name, number in sorted(versions.items())),
    ]
    if seeds:
        lines.append(f"Seed of every sample: {', '.join(sorted(seeds))}")
    measured = sorted(one.created for one in report.results)
    lines.append(f"Measured from {measured[0]:%Y-%m-%d %H:%M} to {measured[-1]:%Y-%m-%d %H:%M} UTC, by these commands:")
    return lines + [one.command for one in report.results]

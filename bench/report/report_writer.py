"""A report written into a folder: HTML, Markdown with its pictures, JSON and the schema of the JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cbir.errors import CbirError, UsageError
from cbir.evaluation.result_files import Report, latest
from cbir.index.files import write_atomically

from ..accuracy.view import accuracy_section
from ..baselines.view import search_section
from ..core.document import Document, Result, Section
from ..ingest.view import embedding_parts, ingest_section
from ..latency.view import latency_section
from ..models.view import models_section
from ..parity.view import parity_section
from .comparison import reading
from .render import as_html, as_markdown
from .report_file import SCHEMA_FILE, FullReport, as_json, put_together, schema


def baselines_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `peers`: searching at the same recall, and images a second."""
    section = search_section(result, command)
    embedding = [table for one in result["embedding"] or () for table in embedding_parts(one)]
    return replace(section, parts=[*section.parts, *embedding])


SECTIONS: Mapping[str, Callable[[Result, str], Section]] = {
    "accuracy": accuracy_section,
    "parity": parity_section,
    "latency": latency_section,
    "models": models_section,
    "peers": baselines_section,
    "ingest": ingest_section,
}
"""By benchmark, in the order of the report. What is not here stands in report.json alone."""


def collect(folders: Sequence[Path]) -> list[Report]:
    """Return the results that are kept in some folders, in the order of the report."""
    found: list[Report] = []
    for folder in folders:
        there, notes = latest(folder)
        if notes:
            raise UsageError(f"{folder}: {notes[0]}")
        if not there:
            raise UsageError(f"{folder} has no results; `cbir-bench latency`, for one, makes some")
        found += there
    return sorted(found, key=lambda one: [*SECTIONS, one.kind].index(one.kind))


def document(report: FullReport, title: str) -> Document:
    """Return a report as a document."""
    sections = []
    for one in report.results:
        if one.kind in SECTIONS:
            with reading(one.kind):
                sections.append(SECTIONS[one.kind](one.result, one.command))
    return Document(title, _lines(report), sections)


def write(folder: Path, title: str, results: Sequence[Report]) -> list[Path]:
    """Write a report of results into a folder, each file whole or not at all, and return the files for people first."""
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
            write_atomically(path, data)
    except OSError as error:
        raise CbirError(f"the report cannot be written: {error.filename or folder}: {error.strerror}") from None
    return [folder / name for name in files if "/" not in name]


def _lines(report: FullReport) -> list[str]:
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

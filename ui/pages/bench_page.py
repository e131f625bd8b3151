"""The page of the bench: the latest report of each kind that `cbir-bench` kept, as plots and tables."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import streamlit as st

from cbir.evaluation.result_files import Report, latest, shortened
from cbir.settings import Settings

from ..components import bench_results, bench_stores, sections
from ..components.problems import literal
from ..components.sections import MAX_NOTES, Result, Sections

_MAX_ROWS = 500


@dataclass(frozen=True)
class Kind:
    """A kind of report: its heading, the question it answers, the command that makes it, and what reads its result."""

    title: str
    question: str
    command: str
    read: Callable[[Result], Sections]


def draw(settings: Settings) -> None:
    """Draw the latest report of each kind, and how to make the others."""
    found, notes = latest(settings.reports)
    reports = {report.kind: report for report in found}
    for note in notes:
        st.warning(literal(note), icon=":material/warning:")
    kinds = {**KINDS, **{kind: _unknown(kind) for kind in reports if kind not in KINDS}}
    for name, kind in sorted(kinds.items(), key=lambda item: item[0] not in reports):
        if name in reports or kind.command:
            st.subheader(literal(kind.title), anchor=False)
            st.markdown(kind.question)
        if name in reports:
            _report(reports[name], kind)
        elif kind.command:
            st.caption("Not measured yet. This measures it, and keeps it for this page:")
            st.code(kind.command, language=None, wrap_lines=True)


def _report(report: Report, kind: Kind) -> None:
    """Draw a report, where it comes from, and its notes."""
    try:
        sections.draw(kind.read(report.result))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        st.info("Another version of cbir made this report; here it is as it was written.", icon=":material/info:")
        sections.draw(_as_table(report.result))
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    when = f"{report.created:%Y-%m-%d %H:%M %Z}"
    st.caption(f"Measured {when} with cbir {literal(report.cbir_version)} on {literal(machine)}, by")
    st.code(shortened(report.command), language=None, wrap_lines=True)
    notes = report.result.get("notes")
    if isinstance(notes, list) and notes:
        with st.expander("What one has to know of these figures"):
            for note in notes[:MAX_NOTES]:
                st.markdown(literal(shortened(str(note))))


def _as_table(result: Result) -> Sections:
    rows = [{"figure": path, "value": shortened(text)} for path, text in islice(_flattened(result), _MAX_ROWS + 1)]
    title = f"The first {_MAX_ROWS} figures" if len(rows) > _MAX_ROWS else ""
    return Sections([sections.Section(title, rows[:_MAX_ROWS])])


def _flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each value in nested JSON."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flattened(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _flattened(inner, f"{path}[{index}]")
    else:
        yield path, "" if value is None else str(value)


def _unknown(kind: str) -> Kind:
    return Kind(kind.capitalize(), "A report of a kind that this page has no plot for.", "", _as_table)


KINDS = {
    "accuracy": Kind(
        "Accuracy",
        "Which model finds best?",
        "cbir-bench accuracy ./photos --model A.onnx --model B.onnx",
        bench_results.accuracy,
    ),
    "latency": Kind(
        "Latency", "How much does each store find, and how fast?", "cbir-bench latency", bench_results.latency
    ),
    "stores": Kind(
        "The stores", "How fast is each store, and how much does it find?", "cbir-bench stores", bench_stores.stores
    ),
    "parity": Kind(
        "Parity",
        "Do the stores agree, with each other and the exact answer?",
        "cbir-bench parity",
        bench_stores.parity,
    ),
    "ingest": Kind(
        "Ingest",
        "How near does an ingest come to its model alone?",
        "cbir-bench ingest ./photos",
        bench_results.ingest,
    ),
    "models": Kind("Models", "How fast is each model alone?", "cbir-bench models", bench_results.models),
    "peers": Kind("Peers", "What else could one take?", "cbir-bench peers ./photos", bench_results.peers),
    "plan": Kind("Plan", "What will more images take?", "cbir-bench plan 1M 100M 1B", bench_stores.plan),
    "plan-check": Kind("The plan, checked", "Does what was planned come true?", "", bench_stores.plan_check),
}

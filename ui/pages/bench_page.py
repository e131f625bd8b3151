"""The page of the bench: the latest result of each kind that `cbir-bench` kept, as verdicts, plots and tables."""

import streamlit as st

from cbir.evaluation.result_files import latest, shortened
from cbir.settings import Settings

from ..components import bench_section
from ..components.problems import literal

COMMANDS = {
    "accuracy": "cbir-bench accuracy ./photos --model A.onnx --model B.onnx",
    "text": "cbir-bench text ./photos --captions captions.json",
    "parity": "cbir-bench parity",
    "latency": "cbir-bench latency",
    "http": "cbir-bench http",
    "models": "cbir-bench models",
    "baselines": "cbir-bench baselines ./photos",
    "ingest": "cbir-bench ingest ./photos",
    "growth": "cbir-bench growth",
    "plan": "cbir-bench plan 1M 100M 1B",
}
"""What measures each kind. A result of any other kind is shown as well."""


def draw(settings: Settings) -> None:
    """Draw the latest result of each kind, and how to measure the others."""
    reports, problems = latest(settings.reports)
    for problem in problems:
        st.warning(literal(problem), icon=":material/warning:")
    for report in sorted(reports, key=lambda report: [*COMMANDS, report.kind].index(report.kind)):
        if report.section is not None:
            bench_section.draw(report.section, report.kind)
        machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
        when = f"{report.created:%Y-%m-%d %H:%M %Z}"
        st.caption(f"Measured {when} with cbir {literal(report.cbir_version)} on {literal(machine)} by this command:")
        st.code(shortened(report.command), language=None, wrap_lines=True)
    missing = [command for kind, command in COMMANDS.items() if kind not in {report.kind for report in reports}]
    if missing:
        st.subheader("Not measured yet", anchor=False)
        st.caption("Each of these commands measures something and keeps the result for this page.")
        st.code("\n".join(missing), language=None, wrap_lines=True)

"""The page of the bench: the latest report of each kind that `cbir-bench` kept, as plots and tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import streamlit as st
from pydantic import ValidationError

from cbir.evaluation.result_files import Report, latest, shortened
from cbir.settings import Settings

from ..components import plots
from ..components.bench_figures import Ingest, Parity, Plan, PlanCheck, Stores, flattened
from ..components.bench_parts import MOST_NOTES, recall_columns, say_failed, section, short_names, ways
from ..components.bench_results import accuracy, latency, models, peers
from ..components.problems import literal

_MOST_ROWS = 500


@dataclass(frozen=True)
class Kind:
    """A kind of report: its heading, the question it answers, the command that makes it, and what draws it."""

    title: str
    question: str
    command: str
    draw: Callable[[Mapping[str, Any]], None]


def draw(settings: Settings) -> None:
    """Draw the latest report of each kind, and how to make those that there are not."""
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
    """Draw a report, where it comes from, and what one has to know of it."""
    try:
        kind.draw(report.result)
    except ValidationError:
        st.info("Another version of cbir made this report; here it is as it was written.", icon=":material/info:")
        _as_table(report.result)
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    when = f"{report.created:%Y-%m-%d %H:%M %Z}"
    st.caption(f"Measured {when} with cbir {literal(report.cbir_version)} on {literal(machine)}, by")
    st.code(shortened(report.command), language=None, wrap_lines=True)
    notes = report.result.get("notes")
    if isinstance(notes, list) and notes:
        with st.expander("What one has to know of these figures"):
            for note in notes[:MOST_NOTES]:
                st.markdown(literal(shortened(str(note))))


def _stores(result: Mapping[str, Any]) -> None:
    found = Stores.model_validate(result)
    names = short_names([*(one.store for one in found.latencies), *(one.store for one in found.footprints)])
    alone = [
        {
            "store": names[one.store],
            **recall_columns(one.ann_recall_at_k),
            "median ms": one.search_ms.median,
            "p95 ms": one.search_ms.p95,
            "searched": one.searched,
        }
        for one in found.latencies
    ]
    section(
        "Recall against latency, one search at a time: the median, and a line to the p95",
        alone,
        plots.ranged("median ms", "p95 ms", "recall", "store"),
    )
    loads = [
        {
            "store": names[one.store],
            "threads": load.threads,
            "searches/s": load.searches_per_second,
            "median ms": load.search_ms.median,
            "p95 ms": load.search_ms.p95,
            "p99 ms": load.search_ms.p99,
        }
        for one in found.latencies
        for load in one.loads
    ]
    section("Searches a second, by client threads", loads, plots.lines("threads", "searches/s", "store"))
    filtered = [
        {
            "store": names[one.store],
            "filter": f"{part.field}={part.value}",
            "share of the points": part.share,
            **recall_columns(part.ann_recall_at_k),
            "median ms": part.search_ms.median,
            "p95 ms": part.search_ms.p95,
        }
        for one in found.latencies
        for part in one.filtered
    ]
    section(
        "Filtered: recall against latency, against the exact filtered answer",
        filtered,
        plots.ranged("median ms", "p95 ms", "recall", "store", shape="filter"),
    )
    sizes = [
        {
            "store": names[one.store],
            "index on disk, MB": one.disk_megabytes,
            "a search goes through, MB": one.walked_megabytes,
            "memory of its own, MB": one.memory and one.memory.searched.own,
            "mapped files in memory, MB": one.memory and one.memory.searched.mapped,
        }
        for one in found.footprints
    ]
    long = [
        {"store": row["store"], "what": what.removesuffix(", MB"), "MB": value}
        for row in sizes
        for what, value in row.items()
        if what != "store"
    ]
    section("Disk and memory", sizes, plots.bars("MB", "store", "what"), long)
    failed = [
        f"{names.get(one.store, one.store)}: {error}"
        for ingest in found.beside
        for one in ingest.stores
        for error in one.errors
    ]
    say_failed(failed)


def _parity(result: Mapping[str, Any]) -> None:
    found = Parity.model_validate(result)
    names = short_names([one.store for one in found.oracle])
    oracle = [
        {
            "store": names[one.store],
            "search": one.mode,
            **recall_columns(one.ann_recall_at_k),
            "below 1": one.queries_below_one,
        }
        for one in found.oracle
    ]
    section(
        "Recall against the exact answer: the mean, and a line to the worst query",
        oracle,
        plots.down_to("recall", "store"),
    )
    pairs = [
        {
            "stores": " / ".join(names.get(url, url) for url in one.stores),
            "search": one.mode,
            **recall_columns(one.overlap_at_k, "overlap"),
            "differ": one.different,
        }
        for one in found.pairs
    ]
    section(
        "Overlap of each pair of stores: the mean, and a line to the worst query",
        pairs,
        plots.down_to("overlap", "stores"),
    )
    worst = [
        {
            "query": str(query),
            "of": names[one.store],
            "search": one.mode,
            "what": f"recall {one.ann_recall_at_k.worst:.2f}",
        }
        for one in found.oracle
        if one.queries_below_one and (query := one.ann_recall_at_k.worst_query)
    ]
    worst += [
        {
            "query": str(different.query),
            "of": " / ".join(names.get(url, url) for url in one.stores),
            "search": one.mode,
            "what": f"differs from rank {different.rank} on",
        }
        for one in found.pairs
        for different in one.differences
    ]
    section("The queries that come out worst", worst[:_MOST_ROWS])


def _ingest(result: Mapping[str, Any]) -> None:
    ways(
        "Images a second: the median of the rounds, and a line from the lowest to the highest",
        Ingest.model_validate(result).models,
    )


def _plan(result: Mapping[str, Any]) -> None:
    rows = []
    for one in Plan.model_validate(result).plans:
        costs = [(name, engine.disk_bytes + one.log_bytes, engine.serve_bytes) for name, engine in one.engines.items()]
        costs += [(f"server, {server.layout}", server.disk_bytes, server.ram_bytes) for server in one.servers]
        rows += [
            {"images": one.images, "how": how, "disk GB": disk / 1e9, "RAM GB": ram / 1e9} for how, disk, ram in costs
        ]
    section(
        "Disk, with the vector log of an embedded index",
        rows,
        plots.logarithmic("images", "disk GB", "how"),
        table=False,
    )
    section("RAM to search", rows, plots.logarithmic("images", "RAM GB", "how"))


def _plan_check(result: Mapping[str, Any]) -> None:
    found = PlanCheck.model_validate(result)
    rows = [
        {
            "index": one.name,
            "cost": cost,
            "measured / predicted": factor,
            "limit": found.limits.get(cost),
            "within": "no" if cost in one.missed else "yes",
        }
        for one in found.checks
        for cost, factor in one.factors.items()
    ]
    section(
        "How many times what was predicted each cost turned out to be",
        rows,
        plots.bars("measured / predicted", "cost", "index"),
    )


def _as_table(result: Mapping[str, Any]) -> None:
    rows = [{"figure": path, "value": shortened(text)} for path, text in islice(flattened(result), _MOST_ROWS + 1)]
    st.dataframe(rows[:_MOST_ROWS], hide_index=True)
    if len(rows) > _MOST_ROWS:
        st.caption(f"The first {_MOST_ROWS} figures.")


def _unknown(kind: str) -> Kind:
    return Kind(kind.capitalize(), "A report of a kind that this page has no plot for.", "", _as_table)


KINDS = {
    "accuracy": Kind(
        "Accuracy", "Which model finds best?", "cbir-bench accuracy ./photos --model A.onnx --model B.onnx", accuracy
    ),
    "latency": Kind("Latency", "How much does each store find, and how fast?", "cbir-bench latency", latency),
    "stores": Kind("The stores", "How fast is each store, and how much does it find?", "cbir-bench stores", _stores),
    "parity": Kind(
        "Parity", "Do the stores agree, with each other and the exact answer?", "cbir-bench parity", _parity
    ),
    "ingest": Kind("Ingest", "How near does an ingest come to its model alone?", "cbir-bench ingest ./photos", _ingest),
    "models": Kind("Models", "How fast is each model alone?", "cbir-bench models", models),
    "peers": Kind("Peers", "What else could one take?", "cbir-bench peers ./photos", peers),
    "plan": Kind("Plan", "What will more images take?", "cbir-bench plan 1M 100M 1B", _plan),
    "plan-check": Kind("The plan, checked", "Does what was planned come true?", "", _plan_check),
}

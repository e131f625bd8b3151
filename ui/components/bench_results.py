"""What the page Bench draws of accuracy, latency, models and peers.

The figures are taken out of JSON that may hold anything; what a result holds besides is ignored.
"""

from collections.abc import Mapping
from typing import Any

from cbir.evaluation.result_files import model_name

from . import plots
from .bench_figures import Figures, Measured, Spread, Summary, Times
from .bench_parts import recall_columns, say_failed, section, short_names, ways
from .plots import Row

_CLASSES = 50


class ClassFigures(Figures):
    """One class, by the best model."""

    label: str
    queries: int
    metrics: dict[str, float | None]


class Model(Figures):
    """One model: its metrics, and where chance may have them."""

    name: str
    precision: str
    rank: int
    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    classes: list[ClassFigures]


class Accuracy(Figures):
    """A result of `accuracy`."""

    models: list[Model]


class Load(Figures):
    """Client threads, and searches a second of all of them."""

    threads: int
    searches_per_second: Spread


class Point(Figures):
    """One store at one width of search."""

    effort: int | None
    failed: str
    ann_recall_at_k: Summary | None
    search_ms: Times | None
    loads: list[Load]


class Curve(Figures):
    """One store."""

    store: str
    knob: str
    points: list[Point]


class Latency(Figures):
    """A result of `latency`."""

    curves: list[Curve]


class Case(Figures):
    """One model on one provider, with so many pictures in a run."""

    provider: str
    batch: int
    failed: str
    ms_an_image: Spread | None


class ModelSpeed(Figures):
    """One model."""

    model: str
    precision: str
    megabytes: float
    cases: list[Case]


class Models(Figures):
    """A result of `models`."""

    models: list[ModelSpeed]


class Width(Figures):
    """One candidate at one width of search."""

    effort: int | None
    recall: float
    median_ms: Spread


class Candidate(Figures):
    """One store or library."""

    name: str
    missing: str
    build_seconds: float | None
    megabytes: float | None
    curve: list[Width]
    at_recall: Width | None


class Search(Figures):
    """All candidates, at the recall that they are compared at."""

    recall: float
    candidates: list[Candidate]


class Peers(Figures):
    """A result of `peers`."""

    search: Search
    embedding: list[Measured] | None


def accuracy(result: Mapping[str, Any]) -> None:
    """Draw how well each model finds, and the classes that the best one finds worst."""
    found = sorted(Accuracy.model_validate(result).models, key=lambda one: one.rank)
    rows = [
        {
            "model": model_name(one.name, one.precision),
            "rank": one.rank,
            "main score": one.metrics.get("main_score"),
            "95 %, lowest": one.intervals["main_score"][0],
            "95 %, highest": one.intervals["main_score"][1],
            **{name: value for name, value in one.metrics.items() if name != "main_score"},
        }
        for one in found
        if "main_score" in one.intervals
    ]
    drawn = [
        {"model": row["model"], "value": row["main score"], "low": row["95 %, lowest"], "high": row["95 %, highest"]}
        for row in rows
    ]
    section(
        "Each model's main score, and a line for its 95 % interval. Models with the same rank cannot be told apart",
        rows,
        plots.intervals("model"),
        drawn,
    )
    worst = sorted(found[0].classes, key=lambda one: one.metrics.get("main_score") or 0.0) if found else []
    section(
        "The classes that the first of them finds worst",
        [{"class": one.label, "queries": one.queries, **one.metrics} for one in worst[:_CLASSES]],
    )


def latency(result: Mapping[str, Any]) -> None:
    """Draw recall against searches a second, by store."""
    found = Latency.model_validate(result)
    names = short_names([one.store for one in found.curves])
    rows: list[Row] = [
        {
            "store": names[curve.store],
            "width": f"{curve.knob} {point.effort}" if point.effort else "scan",
            **recall_columns(point.ann_recall_at_k),
            "searches/s": 1000 / point.search_ms.median,
            "median ms": point.search_ms.median,
            "p95 ms": point.search_ms.p95,
            "p99 ms": point.search_ms.p99,
            **{f"searches/s, {load.threads} threads": load.searches_per_second.median for load in point.loads},
        }
        for curve in found.curves
        for point in curve.points
        if point.ann_recall_at_k and point.search_ms
    ]
    section(
        "Recall against searches a second of one client, at every width of search",
        rows,
        plots.tradeoff("recall", "searches/s", "store"),
    )
    say_failed(
        [
            f"{names[curve.store]}, {curve.knob} {point.effort}: {point.failed}"
            for curve in found.curves
            for point in curve.points
            if point.failed
        ]
    )


def models(result: Mapping[str, Any]) -> None:
    """Draw milliseconds of a picture by model, provider and batch."""
    found = Models.model_validate(result)
    rows = [
        {
            "model": model_name(one.model, one.precision),
            "provider": case.provider,
            "batch": case.batch,
            "ms an image": case.ms_an_image.median,
            "lowest": case.ms_an_image.lowest,
            "highest": case.ms_an_image.highest,
            "MB": one.megabytes,
        }
        for one in found.models
        for case in one.cases
        if case.ms_an_image
    ]
    drawn = [
        {
            "model": f"{row['model']}, {row['provider']}, batch {row['batch']}",
            "value": row["ms an image"],
            "low": row["lowest"],
            "high": row["highest"],
        }
        for row in rows
    ]
    section(
        "Milliseconds an image: the median, and a line from the lowest round to the highest",
        rows,
        plots.intervals("model"),
        drawn,
    )
    say_failed([f"{one.model}: {case.failed}" for one in found.models for case in one.cases if case.failed])


def peers(result: Mapping[str, Any]) -> None:
    """Draw searching at the same recall, and images a second, beside other libraries."""
    found = Peers.model_validate(result)
    rows = [
        {
            "candidate": one.name,
            "recall": one.at_recall and one.at_recall.recall,
            "median ms": one.at_recall and one.at_recall.median_ms.median,
            "lowest": one.at_recall and one.at_recall.median_ms.lowest,
            "highest": one.at_recall and one.at_recall.median_ms.highest,
            "seconds to build": one.build_seconds,
            "MB": one.megabytes,
            "not measured": one.missing,
        }
        for one in found.search.candidates
    ]
    points = [
        {"candidate": one.name, "recall": point.recall, "searches/s": 1000 / point.median_ms.median}
        for one in found.search.candidates
        for point in one.curve
    ]
    section(
        f"Searching: the table at a recall of {found.search.recall}, the plot at every width of search",
        rows,
        plots.tradeoff("recall", "searches/s", "candidate"),
        points,
    )
    ways("From files to vectors, images a second", found.embedding or ())

"""What the page shows of the bench's results on models and on whole searches, which are JSON that may hold anything.

What a result holds besides is ignored. One that lacks a figure raises `LookupError` or `TypeError`.
"""

from collections.abc import Iterable
from typing import Any

from cbir.evaluation.result_files import model_name

from . import plots
from .sections import Result, Section, Sections, figure, recall, short_names, spread, times

_MAX_CLASSES = 50


def accuracy(result: Result) -> Sections:
    """Return how well each model finds, and the classes that the best one finds worst."""
    found = sorted(result["models"], key=lambda model: int(model["rank"]))
    rows = []
    for model in found:
        metrics, interval = dict(model["metrics"]), model["intervals"].get("main_score")
        row = {"model": model_name(model["name"], model["precision"]), "rank": model["rank"]}
        row["main score"] = metrics.pop("main_score", None)
        if interval:
            rows.append({**row, "95 %, lowest": interval[0], "95 %, highest": interval[1], **metrics})
    plotted = [
        {"model": row["model"], "value": row["main score"], "low": row["95 %, lowest"], "high": row["95 %, highest"]}
        for row in rows
    ]
    classes = sorted(found[0]["classes"], key=lambda row: row["metrics"].get("main_score") or 0.0) if found else []
    worst = [{"class": row["label"], "queries": row["queries"], **row["metrics"]} for row in classes[:_MAX_CLASSES]]
    return Sections(
        [
            Section(
                "Each model's main score, and a line for its 95 % interval. Models with the same rank cannot be told"
                " apart",
                rows,
                plots.intervals("model"),
                plotted,
            ),
            Section("The classes that the first of them finds worst", worst),
        ]
    )


def latency(result: Result) -> Sections:
    """Return recall against searches a second, by store."""
    curves = result["curves"]
    names = short_names([curve["store"] for curve in curves])
    points = [(curve, point) for curve in curves for point in curve["points"]]
    rows = [
        {
            "store": names[curve["store"]],
            "width": f"{curve['knob']} {point['effort']}" if point["effort"] else "scan",
            **recall(point["ann_recall_at_k"]),
            "searches/s": 1000 / point["search_ms"]["median"],
            **times(point["search_ms"]),
            **{
                f"searches/s, {load['threads']} threads": load["searches_per_second"]["median"]
                for load in point["loads"]
            },
        }
        for curve, point in points
        if point["ann_recall_at_k"] and point["search_ms"]
    ]
    title = "Recall against searches a second of one client, at every width of search"
    failures = [
        f"{names[curve['store']]}, {curve['knob']} {point['effort']}: {point['failed']}"
        for curve, point in points
        if point["failed"]
    ]
    return Sections([Section(title, rows, plots.tradeoff("recall", "searches/s", "store"))], failures)


def ingest(result: Result) -> Sections:
    """Return images a second of each model's ways from files to vectors."""
    title = "Images a second: the median of the rounds, and a line from the lowest to the highest"
    return _ways(title, result["models"])


def models(result: Result) -> Sections:
    """Return milliseconds of an image by model, provider and batch."""
    cases = [(model, case) for model in result["models"] for case in model["cases"]]
    rows = [
        {
            "model": model_name(model["model"], model["precision"]),
            "provider": case["provider"],
            "batch": case["batch"],
            **spread(case["ms_an_image"], "ms an image"),
            "MB": model["megabytes"],
        }
        for model, case in cases
        if case["ms_an_image"]
    ]
    plotted = [
        {
            "model": f"{row['model']}, {row['provider']}, batch {row['batch']}",
            "value": row["ms an image"],
            "low": row["lowest"],
            "high": row["highest"],
        }
        for row in rows
    ]
    title = "Milliseconds an image: the median, and a line from the lowest round to the highest"
    failures = [f"{model['model']}: {case['failed']}" for model, case in cases if case["failed"]]
    return Sections([Section(title, rows, plots.intervals("model"), plotted)], failures)


def peers(result: Result) -> Sections:
    """Return searching at the same recall, and images a second, beside other libraries."""
    search = result["search"]
    rows = [
        {
            "candidate": candidate["name"],
            "recall": figure(candidate["at_recall"], "recall"),
            **spread(figure(candidate["at_recall"], "median_ms"), "median ms"),
            "seconds to build": candidate["build_seconds"],
            "MB": candidate["megabytes"],
            "not measured": candidate["missing"],
        }
        for candidate in search["candidates"]
    ]
    points = [
        {
            "candidate": candidate["name"],
            "recall": point["recall"],
            "searches/s": 1000 / point["median_ms"]["median"],
        }
        for candidate in search["candidates"]
        for point in candidate["curve"]
    ]
    title = f"Searching: the table at a recall of {search['recall']}, the plot at every width of search"
    embedding = _ways("From files to vectors, images a second", result["embedding"] or ())
    plot = plots.tradeoff("recall", "searches/s", "candidate")
    return Sections([Section(title, rows, plot, points), *embedding.sections], embedding.failures)


def _ways(title: str, measured: Iterable[Any]) -> Sections:
    """Return images a second of each model's ways from files to vectors, and which were not measured."""
    parts = [(model["model"], part) for model in measured for part in model["parts"]]
    rows = [
        {
            "model": model,
            "part": part["name"],
            **spread(part["images_per_second"], "images/s"),
            "processor ms": part["core_milliseconds"],
            "peak MB": part["peak_megabytes"],
            "what": (part["missing"] and f"not measured: {part['missing']}") or part["what"],
        }
        for model, part in parts
    ]
    failures = [f"{model}, {part['name']}: {part['missing']}" for model, part in parts if part["missing"]]
    plotted = [row for row in rows if row["images/s"] is not None]
    return Sections([Section(title, rows, plots.spread, plotted)], failures)

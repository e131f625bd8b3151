"""What `accuracy` measured, as tables for people and as JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.table import Table

from cbir.evaluation.result_files import machine

from ..core.metrics import definitions
from ..core.significance import FLIPS, LEVEL
from ..report.model_sections import model_names
from ..report.report import FORMAT, new_console, new_table
from .measure import SPLIT, ModelAccuracy
from .run import Asked, Found

_MOST_PAIRS = 40
_MOST_CLASSES = 30
_MOST_CONFUSED = 8


def accuracy_json(asked: Asked, found: Found) -> dict[str, Any]:
    """Return the result as plain JSON values."""
    settings = {
        "source": asked.source,
        "options": asdict(asked.options),
        **{name: getattr(asked, name) for name in ("k", "seed", "protocol", "resamples")},
    }
    return {
        "benchmark": "accuracy",
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": settings,
        "definitions": definitions(asked.k),
        **asdict(found),
        "notes": accuracy_notes(asked, found),
        "versions": {name: version(name) for name in ("cbir", "onnxruntime", "numpy", "pillow")},
        "machine": machine(),
    }


def accuracy_notes(asked: Asked, found: Found) -> list[str]:
    """Return what one has to know to read the figures."""
    how = (
        f"70 % of the pictures are indexed and 15 % asked for, by class (seed {asked.seed})"
        if asked.protocol == SPLIT
        else "Each picture asks for all the others"
    )
    return [
        f"{how}: {found.indexed:,} indexed, {found.queries:,} asked for, {asked.k} hits each; exact search. A hit is"
        " right if it has the query's class.",
        f"The query itself and its exact copies (SHA-256 of the file) are no hits; {found.copies:,} of"
        f" {found.pictures:,} pictures are copies. with_copies has the same figures with copies among the hits.",
        f"Intervals are {LEVEL:.0%}, by {asked.resamples:,} bootstrap resamples of the queries, the same for all"
        f" models. p is of {FLIPS:,} sign flips of the paired differences, for the first hit McNemar's exact test; both"
        " are corrected for the number of pairs (Holm). A model has a better rank than another only if the paired"
        " interval excludes 0 and the corrected p is below 0.05; ranks that are alike claim nothing.",
        *([f"{found.left_out:,} labelled pictures could not be embedded and are left out."] if found.left_out else []),
        *found.warnings,
    ]


def show_accuracy(asked: Asked, found: Found) -> None:
    """Print the tables."""
    console, names, k = new_console(), model_names([asdict(one) for one in found.models]), asked.k
    console.print(f"{found.name}: {found.pictures:,} pictures")
    for note in accuracy_notes(asked, found):
        console.print(note)
    shown = {
        f"P@{k}": f"precision_at_{k}",
        "weighted": f"weighted_precision_at_{k}",
        "top-1": "hit_rate_at_1",
        f"hit@{k}": f"hit_rate_at_{k}",
        "majority": f"majority_at_{k}",
        f"MRR@{k}": f"mrr_at_{k}",
    }
    if k == 1:
        shown.pop(f"hit@{k}")
    table = new_table("", ["rank", "model", *shown])
    order = sorted(range(len(names)), key=lambda at: -found.models[at].metrics["main_score"])
    for at in order:
        one = found.models[at]
        table.add_row(str(one.rank), names[at], *(_with_width(one, metric) for metric in shown.values()))
    console.print(table)
    if found.pairs:
        console.print(_pair_table(found, names, k))
    best = found.models[order[0]]
    console.print(_class_table(best, names[order[0]], k))
    for label, other, share in confused(best)[:_MOST_CONFUSED]:
        console.print(f"  {label} is taken for {other}: {share:.1%} of its hits")


def _with_width(one: ModelAccuracy, metric: str) -> str:
    """Return a mean with how far its interval reaches at most."""
    mean, (low, high) = one.metrics[metric], one.intervals[metric]
    return f"{mean:.4f} ±{max(mean - low, high - mean):.3f}"


def _pair_table(found: Found, names: Sequence[str], k: int) -> Table:
    table = new_table(
        f"Pairs, by P@{k}", ["model", "and", "difference", "95 %", "p, corrected", "top-1: p, corrected", "better"]
    )
    for pair in sorted(found.pairs, key=lambda one: one.p_holm)[:_MOST_PAIRS]:
        first, second = (names[at] for at in pair.models)
        low, high = pair.interval
        better = "-" if pair.better is None else names[pair.better]
        cells = (
            f"{pair.difference:+.4f}",
            f"{low:+.4f} - {high:+.4f}",
            f"{pair.p_holm:.4f}",
            f"{pair.p_top1_holm:.4f}",
        )
        table.add_row(first, second, *cells, better)
    return table


def _class_table(model: ModelAccuracy, name: str, k: int) -> Table:
    columns = ["class", "queries", "indexed", f"P@{k}", "top-1", f"MRR@{k}", "most often taken for"]
    table = new_table(f"Classes, by {name}", columns)
    for one in model.classes[:_MOST_CLASSES]:
        other = next(((label, share) for label, share in one.retrieved_as.items() if label != one.label), None)
        figures = (one.metrics[metric] for metric in (f"precision_at_{k}", "hit_rate_at_1", f"mrr_at_{k}"))
        taken = f"{other[0]} ({other[1]:.1%})" if other else "-"
        table.add_row(one.label, f"{one.queries:,}", f"{one.indexed:,}", *(f"{value:.4f}" for value in figures), taken)
    return table


def confused(model: ModelAccuracy) -> list[tuple[str, str, float]]:
    """Return the pairs (class, what its hits are labelled instead, share of its hits), the largest share first."""
    found = [
        (one.label, other, share)
        for one in model.classes
        for other, share in one.retrieved_as.items()
        if other != one.label
    ]
    return sorted(found, key=lambda one: -one[2])

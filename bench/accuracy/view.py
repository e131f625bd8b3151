"""What `accuracy` measured, as JSON for programs and as a section for people."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cbir.evaluation.result_files import model_name

from ..core.document import Part, Ranges, Result, Section, Table, share
from ..core.metrics import definitions, table_columns
from ..core.results import envelope
from .measure import SPLIT
from .run import Asked, Found
from .significance import FLIPS, LEVEL

_PUBLISHED = (
    ("ResNet-18", 0.9651, 0.9778, 0.9651, 0.9848),
    ("ShuffleNet-V2", 0.9666, 0.9796, 0.9666, 0.9862),
    ("EfficientNet-B0", 0.9695, 0.9794, 0.9695, 0.9865),
    ("MobileNetV3", 0.9701, 0.9805, 0.9700, 0.9867),
    ("SqueezeNet", 0.9610, 0.9767, 0.9610, 0.9837),
    ("ConvNeXt-Tiny", 0.9739, 0.9816, 0.9739, 0.9873),
)
"""Precision@5, retrieval accuracy, weighted Precision@5 and MRR of the published comparison whose protocol this is."""
_DATA, _K = "fashion-product-images-small", 5
_MOST_CLASSES = 20


def accuracy_json(asked: Asked, found: Found) -> dict[str, Any]:
    """Return the result as plain JSON values."""
    settings = {
        "source": asked.source,
        "options": asdict(asked.options),
        **{name: getattr(asked, name) for name in ("k", "seed", "protocol", "resamples")},
    }
    return {
        **envelope("accuracy", ("cbir", "onnxruntime", "numpy", "pillow")),
        "settings": settings,
        "definitions": definitions(asked.k),
        **asdict(found),
        "notes": accuracy_notes(asked, found),
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


def accuracy_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `accuracy`: the published table beside ours, and what is sure of it."""
    k, models = result["settings"]["k"], result["models"]
    names = model_names(models)
    order = sorted(range(len(models)), key=lambda at: -models[at]["metrics"]["main_score"])
    parts: list[Part] = []
    if _DATA in result["name"] and k == _K:
        parts += _published_tables(models, names, order)
    titles = table_columns(k)
    rows = [
        [names[at], str(models[at]["rank"]), *(share(models[at]["metrics"].get(name)) for name in titles.values())]
        for at in order
    ]
    parts.append(Table("All metrics, exact copies of the query left out", ["model", "rank", *titles], rows))
    bars = [(names[at], models[at]["metrics"]["main_score"], *models[at]["intervals"]["main_score"]) for at in order]
    words = f"Precision@{k} by model with its 95 % interval"
    parts.append(Ranges("accuracy", words, f"Precision@{k}", bars))
    if result["pairs"]:
        parts.append(_pairs(result["pairs"], names, k))
    parts += _classes(models[order[0]], names[order[0]], k)
    meaning = [f"{name}: {text}." for name, text in result["definitions"].items()]
    question = f"{result['name']}: {result['pictures']:,} pictures, {result['queries']:,} of them asked for."
    return Section("Which model finds best?", question, command, parts, [*result["notes"], *meaning])


def _published_tables(models: Sequence[Result], names: Sequence[str], order: Sequence[int]) -> list[Part]:
    published = [[f"{name} (published)", *map(share, figures)] for name, *figures in _PUBLISHED]
    kept = [(names[at], models[at]["with_copies"]) for at in order]
    four = (f"precision_at_{_K}", f"majority_at_{_K}", f"weighted_precision_at_{_K}", f"mrr_at_{_K}")
    ours = [[name, *(share(figures[one]) for one in four)] for name, figures in kept]
    readings = [
        [name, *(share(figures[one]) for one in (f"majority_at_{_K}", "hit_rate_at_1", f"hit_rate_at_{_K}"))]
        for name, figures in kept
    ]
    return [
        Table(
            "Beside the published comparison, by its protocol (exact copies stay among the hits)",
            ["model", "Precision@5", "accuracy", "weighted Precision@5", "MRR"],
            [*published, *ours],
        ),
        Table(
            "What accuracy may mean. The published column is lower than a hit rate can be beside its MRR, so that it is"
            " compared with the majority of the five hits.",
            ["model", "majority of 5", "top-1", "hit@5"],
            readings,
        ),
    ]


def _pairs(pairs: Sequence[Result], names: Sequence[str], k: int) -> Table:
    rows = [
        [
            f"{names[pair['models'][0]]} and {names[pair['models'][1]]}",
            f"{pair['difference']:+.4f}",
            f"{pair['interval'][0]:+.4f} to {pair['interval'][1]:+.4f}",
            f"{pair['p_holm']:.4f}",
            f"{pair['p_top1_holm']:.4f}",
            "neither" if pair["better"] is None else names[pair["better"]],
        ]
        for pair in sorted(pairs, key=lambda one: float(one["p_holm"]))
    ]
    columns = ["models", "difference", "95 %", "p, corrected", "top-1: p, corrected", "better beyond chance"]
    return Table(f"Each pair of models on the same queries, by Precision@{k}", columns, rows)


def _classes(model: Result, name: str, k: int) -> list[Part]:
    classes = model["classes"][:_MOST_CLASSES]
    labels = [one["label"] for one in classes]
    metrics = (f"precision_at_{k}", "hit_rate_at_1", f"hit_rate_at_{k}", f"mrr_at_{k}")
    rows = [
        [
            one["label"],
            *(f"{one[name]:,}" for name in ("queries", "indexed")),
            *(share(one["metrics"].get(name)) for name in metrics),
            next(
                (f"{other} ({part:.1%})" for other, part in one["retrieved_as"].items() if other != one["label"]), "-"
            ),
        ]
        for one in classes
    ]
    shares = [
        [
            one["label"],
            *(f"{one['retrieved_as'][label]:.1%}" if label in one["retrieved_as"] else "·" for label in labels),
        ]
        for one in classes
    ]
    columns = ["class", "queries", "indexed", f"P@{k}", "top-1", f"hit@{k}", f"MRR@{k}", "most often taken for"]
    return [
        Table(f"Classes, by {name}", columns, rows),
        Table(f"Retrieved as, by {name}: share of a class's hits by their label", ["class", *labels], shares, []),
    ]


def model_names(models: Sequence[Result]) -> list[str]:
    """Return a name for each model that tells it from the others."""
    names = [model_name(str(one["name"]), str(one["precision"])) for one in models]
    return [
        name if names.count(name) == 1 else f"{name} {one['sha256'][:6]}"
        for name, one in zip(names, models, strict=True)
    ]

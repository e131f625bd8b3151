"""The result of `cbir-bench accuracy`, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cbir.evaluation.result_files import Result, model_name
from cbir.evaluation.sections import Bar, Bars, Part, Section
from cbir.tables import Cell, Column, Range, Table

from ..core.metrics import METRICS, definitions
from ..core.subject import Subject
from ..embedding.model_speed import ModelSpeed
from .cost import cost_parts
from .measure import ImageSet, ModelAccuracy, Options
from .significance import FLIPS, LEVEL, Pair

_PUBLISHED = (
    ("ResNet-18", 0.9651, 0.9778, 0.9651, 0.9848),
    ("ShuffleNet-V2", 0.9666, 0.9796, 0.9666, 0.9862),
    ("EfficientNet-B0", 0.9695, 0.9794, 0.9695, 0.9865),
    ("MobileNetV3", 0.9701, 0.9805, 0.9700, 0.9867),
    ("SqueezeNet", 0.9610, 0.9767, 0.9610, 0.9837),
    ("ConvNeXt-Tiny", 0.9739, 0.9816, 0.9739, 0.9873),
)
"""Precision@5, retrieval accuracy, weighted Precision@5 and MRR of the published comparison whose protocol this is."""
_DATA, _LABEL, _CLASSES, _K = "fashion-product-images-small", "subCategory", 10, 5
_MOST_CLASSES = 20
_MATRIX_CLASSES = 10

PAIR_COLUMNS = (
    Column("first"),
    Column("second"),
    Column("first - second", format="+.4f"),
    Column("p", format=".4f"),
    Column("better"),
)
_PUBLISHED_METRICS = {
    "P@5": "precision_at_5",
    "accuracy": "majority_at_5",
    "weighted P@5": "precision_at_5",  # by the shares of the classes, it is the same
    "MRR": "mrr_at_5",
    "top-1": "hit_rate_at_1",
    "hit@5": "hit_rate_at_5",
}


@dataclass(frozen=True, kw_only=True)
class AccuracyResult(Result):
    """How well each model finds images of the query's class, and how fast each is; older results have no speeds."""

    settings: Options
    images: ImageSet
    models: list[ModelAccuracy]
    pairs: list[Pair]
    speeds: list[ModelSpeed] = field(default_factory=list)


def notes(options: Options, images: ImageSet, warnings: Sequence[str]) -> list[str]:
    """Return what a reader needs to know to read the metrics."""
    roles = {
        "split": f"70 % of the images are indexed and 15 % are queries, by class (seed {options.seed})",
        "leave-one-out": "Each image is a query, and all others are indexed",
        "two-sources": f"The images of {options.source} are indexed, and those of {options.query_source} are queries",
    }
    found = [
        f"{roles[options.protocol]}: {images.indexed:,} indexed, {images.queries:,} queries, {options.k} hits each, by"
        " exact search. A hit is right if it has the query's class.",
        f"The query itself and its exact copies (SHA-256 of the file) are no hits. {images.copies:,} of"
        f" {images.images:,} images are copies. `with_copies` in the JSON has the metrics with copies among the hits.",
        f"Intervals are {LEVEL:.0%}, from {options.resamples:,} bootstrap resamples of the queries, the same for all"
        f" models. p is from {FLIPS:,} sign flips of the paired differences, corrected for the number of pairs (Holm)."
        " A model is better beyond chance if the paired interval excludes 0 and the corrected p is below 0.05. Its rank"
        " is 1 plus the number of models that are better than it beyond chance. Equal ranks do not prove equal models.",
    ]
    if options.expand:
        found.append(f"Each query is the mean of its image and the {options.expand} most similar indexed ones.")
    if images.left_out:
        found.append(f"{images.left_out:,} images with a label could not be embedded and are left out.")
    if images.without_class:
        found.append(
            f"{images.without_class:,} queries are of a class that no indexed image has. All their metrics are 0."
        )
    return [*found, *warnings]


def present(result: AccuracyResult) -> Section:
    """Return the section that shows a result: the best model, the published table with ours, and the details."""
    k = result.settings.k
    main, names = f"precision_at_{k}", _names(result.models)
    ranked = sorted(zip(names, result.models, strict=True), key=lambda pair: -pair[1].metrics[main])
    parts: list[Part] = [_summary(ranked, k)]
    if _is_published(result):
        parts.append(_published(ranked))
    caption = f"Precision@{k} by model with its 95 % interval"
    bars = [Bar(name, model.metrics[main], *model.intervals[main]) for name, model in ranked]
    parts.append(Bars("accuracy", caption, f"Precision@{k}", bars))
    accuracies = {name: model.metrics[main] for name, model in ranked}
    choice, cost = cost_parts(accuracies, dict(zip(names, result.speeds, strict=False)), f"P@{k}")
    parts += [*cost, _all_metrics(ranked, k)]
    if result.pairs:
        parts.append(_pairs(result.pairs, names, k))
    parts += _classes(*ranked[0], k)
    subject = f"{result.images.name}: {result.images.images:,} images, {result.images.queries:,} of them queries."
    meanings = [f"{name}: {meaning}." for name, meaning in definitions(k).items()]
    return Section(
        "Which model finds best?", subject, [*_verdicts(result, ranked), *choice], parts, [*result.notes, *meanings]
    )


def _verdicts(result: AccuracyResult, ranked: Sequence[tuple[str, ModelAccuracy]]) -> list[str]:
    name, best = ranked[0]
    main = f"precision_at_{result.settings.k}"
    value, (low, high) = best.metrics[main], best.intervals[main]
    verb = "finds best" if len(ranked) > 1 else "finds images of the query's class"
    found = [f"{name} {verb}: P@{result.settings.k} {value:.4f} ({low:.4f} to {high:.4f})."]
    names = _names(result.models)
    first = names.index(name)
    unsure = [pair for pair in result.pairs if first in pair.models and pair.better is None]
    equal = [names[number] for pair in unsure for number in pair.models if number != first]
    if equal:
        found.append(f"The difference to {', '.join(equal)} may be chance.")
    if _is_published(result):
        other, published, *_ = max(_PUBLISHED, key=lambda row: row[1])
        ours = max(model.with_copies[main] for _, model in ranked)
        found.append(f"By the published protocol the best model here has P@5 {ours:.4f}, {other} {published:.4f}.")
    return found


def _is_published(result: AccuracyResult) -> bool:
    """Return whether the images, their classes and the protocol are those of the published comparison."""
    options = result.settings
    chosen = (options.protocol, options.k, options.label, options.top_classes, options.limit, options.expand)
    return _DATA in result.images.name and chosen == ("split", _K, _LABEL, _CLASSES, None, 0)


def _summary(ranked: Sequence[tuple[str, ModelAccuracy]], k: int) -> Table:
    metrics = {f"P@{k}": f"precision_at_{k}", "top-1": "hit_rate_at_1", f"MRR@{k}": f"mrr_at_{k}"}
    columns = [Column("model"), Column("rank", format="d")]
    columns += [Column(name, format=".4f", better="higher", detail=name.startswith("MRR")) for name in metrics]
    rows: list[list[Cell]] = [
        [name, model.rank, *(Range(model.metrics[metric], *model.intervals[metric]) for metric in metrics.values())]
        for name, model in ranked
    ]
    return Table("", columns, rows)


def _all_metrics(ranked: Sequence[tuple[str, ModelAccuracy]], k: int) -> Table:
    titles = [metric.title.format(k=k) for metric in METRICS]
    columns = [Column("model"), *(Column(title, format=".4f", detail=title == "of possible") for title in titles)]
    rows = [[name, *(model.metrics.get(metric.name.format(k=k)) for metric in METRICS)] for name, model in ranked]
    small = f"mAP@{k} and recall@{k} are small by design: at most {k} / relevant images in the index"
    return Table(f"All metrics, exact copies of the query left out. {small}.", columns, rows)


def _published(ranked: Sequence[tuple[str, ModelAccuracy]]) -> Table:
    rows: list[list[Cell]] = [[f"{name} (published)", *values, None, None] for name, *values in _PUBLISHED]
    rows += [[name, *map(model.with_copies.get, _PUBLISHED_METRICS.values())] for name, model in ranked]
    return Table(
        "The published comparison, and ours by its protocol (exact copies stay among the hits). The published accuracy"
        " is lower than a hit rate can be beside its MRR, so it is compared with the majority of the five hits.",
        [Column("model"), *(Column(header, format=".4f") for header in _PUBLISHED_METRICS)],
        rows,
    )


def _pairs(pairs: Sequence[Pair], names: Sequence[str], k: int) -> Table:
    rows: list[list[Cell]] = []
    for pair in sorted(pairs, key=lambda pair: pair.p_holm):
        better = "neither" if pair.better is None else ("first", "second")[pair.models.index(pair.better)]
        first, second = (names[number] for number in pair.models)
        rows.append([first, second, Range(pair.difference, *pair.interval), pair.p_holm, better])
    return Table(f"Each pair of models on the same queries, by Precision@{k}; p is corrected", PAIR_COLUMNS, rows)


def _classes(name: str, model: ModelAccuracy, k: int) -> list[Part]:
    metrics = {f"P@{k}": f"precision_at_{k}", "top-1": "hit_rate_at_1", f"hit@{k}": f"hit_rate_at_{k}"}
    columns = [Column("class"), Column("queries", format=",d"), Column("indexed", format=",d")]
    columns += [Column(header, format=".4f") for header in metrics] + [Column("most often taken for")]
    rows = []
    for row in model.classes[:_MOST_CLASSES]:
        others = [f"{label} ({share:.1%})" for label, share in row.retrieved_as.items() if label != row.label]
        values = (row.metrics[metric] for metric in metrics.values())
        rows.append([row.label, row.queries, row.indexed, *values, others[0] if others else None])
    first = model.classes[:_MATRIX_CLASSES]
    matrix = Table(
        f"Confusion matrix of {name}: the share of a class's hits that have each label",
        [Column("class", detail=True), *(Column(row.label, format=".1%", detail=True) for row in first)],
        [[row.label, *(row.retrieved_as.get(other.label) for other in first)] for row in first],
    )
    return [Table(f"Classes, by {name}", columns, rows), matrix]


def _names(models: Sequence[ModelAccuracy]) -> list[str]:
    """Return a unique name for each model."""
    names = [model_name(model.name, model.precision) for model in models]
    return [
        name if names.count(name) == 1 else f"{name} {model.sha256[:6]}"
        for name, model in zip(names, models, strict=True)
    ]


SUBJECT = Subject("accuracy", AccuracyResult, present)

"""Sections of a report about models: how well they find, how fast they are, and what else one could take."""

from collections.abc import Mapping, Sequence
from typing import Any

from cbir.evaluation.result_files import model_name

from ..latency.store_sections import share
from . import svg
from .document import Part, Plot, Section, Table

Result = Mapping[str, Any]

SEED = (
    ("ResNet-18", 0.9651, 0.9778, 0.9651, 0.9848),
    ("ShuffleNet-V2", 0.9666, 0.9796, 0.9666, 0.9862),
    ("EfficientNet-B0", 0.9695, 0.9794, 0.9695, 0.9865),
    ("MobileNetV3", 0.9701, 0.9805, 0.9700, 0.9867),
    ("SqueezeNet", 0.9610, 0.9767, 0.9610, 0.9837),
    ("ConvNeXt-Tiny", 0.9739, 0.9816, 0.9739, 0.9873),
)
"""Precision@5, retrieval accuracy, weighted Precision@5 and MRR of the published comparison that the protocol is of."""
SEED_DATA, SEED_K = "fashion-product-images-small", 5
_MOST_CLASSES = 20


def accuracy_section(result: Result, command: str) -> Section:
    """Return the section of a result of `accuracy`: the published table beside ours, and what is sure of it."""
    k, models = result["settings"]["k"], result["models"]
    names = model_names(models)
    order = sorted(range(len(models)), key=lambda at: -models[at]["metrics"]["main_score"])
    parts: list[Part] = []
    if SEED_DATA in result["name"] and k == SEED_K:
        parts += _seed_tables(models, names, order)
    columns = {
        f"P@{k}": f"precision_at_{k}",
        "of possible": f"precision_of_possible_at_{k}",
        "weighted": f"weighted_precision_at_{k}",
        "top-1": "hit_rate_at_1",
        f"hit@{k}": f"hit_rate_at_{k}",
        "majority": f"majority_at_{k}",
        f"MRR@{k}": f"mrr_at_{k}",
        f"mAP@{k}": f"map_at_{k}",
        f"recall@{k}": f"recall_at_{k}",
        f"nDCG@{k}": f"ndcg_at_{k}",
    }
    rows = [
        [names[at], str(models[at]["rank"]), *(share(models[at]["metrics"].get(one)) for one in columns.values())]
        for at in order
    ]
    parts.append(Table("All metrics, exact copies of the query left out", ["model", "rank", *columns], rows))
    bars = [(names[at], models[at]["metrics"]["main_score"], *models[at]["intervals"]["main_score"]) for at in order]
    words = f"Precision@{k} by model with its 95 % interval"
    parts.append(Plot("accuracy", svg.ranges(f"Precision@{k}", bars), words))
    if result["pairs"]:
        parts.append(_pairs(result["pairs"], names, k))
    parts += _classes(models[order[0]], names[order[0]], k)
    meaning = [f"{name}: {text}." for name, text in result["definitions"].items()]
    question = f"{result['name']}: {result['pictures']:,} pictures, {result['queries']:,} of them asked for."
    return Section("Which model finds best?", question, command, parts, [*result["notes"], *meaning])


def _seed_tables(models: Sequence[Result], names: Sequence[str], order: Sequence[int]) -> list[Part]:
    """Return the published table with ours below it, and what its accuracy may have meant."""
    published = [[f"{name} (published)", *map(share, figures)] for name, *figures in SEED]
    kept = [(names[at], {name: models[at]["with_copies"][name] for name in models[at]["with_copies"]}) for at in order]
    four = (f"precision_at_{SEED_K}", f"majority_at_{SEED_K}", f"weighted_precision_at_{SEED_K}", f"mrr_at_{SEED_K}")
    ours = [[name, *(share(figures[one]) for one in four)] for name, figures in kept]
    readings = [
        [name, *(share(figures[one]) for one in (f"majority_at_{SEED_K}", "hit_rate_at_1", f"hit_rate_at_{SEED_K}"))]
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
    """Return the classes of one model, and what share of each one's hits has which label."""
    classes = model["classes"][:_MOST_CLASSES]
    labels = [one["label"] for one in classes]
    metrics = (f"precision_at_{k}", "hit_rate_at_1", f"hit_rate_at_{k}", f"mrr_at_{k}")
    rows = [
        [one["label"], f"{one['queries']:,}", f"{one['indexed']:,}", *(share(one["metrics"].get(m)) for m in metrics)]
        for one in classes
    ]
    shares = [[one["label"], *(_percent(one["retrieved_as"].get(label, 0.0)) for label in labels)] for one in classes]
    columns = ["class", "queries", "indexed", f"P@{k}", "top-1", f"hit@{k}", f"MRR@{k}"]
    return [
        Table(f"Classes, by {name}", columns, rows),
        Table(f"Retrieved as, by {name}: share of a class's hits by their label", ["class", *labels], shares),
    ]


def _percent(value: float) -> str:
    return f"{value:.1%}" if value else "·"


def models_section(result: Result, command: str) -> Section:
    """Return the section of a result of `models`."""
    rows, bars, failed = [], [], []
    for one in result["models"]:
        for case in one["cases"]:
            spent = case["ms_an_image"]
            name = f"{model_name(one['model'], one['precision'])}, {case['provider']}, batch {case['batch']}"
            if spent is None:
                failed.append(f"{name}: failed: {case['failed']}")
                continue
            bars.append((name, spent["median"], spent["lowest"], spent["highest"]))
            rows.append(
                [
                    name,
                    f"{one['dimension']:,}",
                    f"{one['input']}",
                    f"{one['megabytes']:.1f}",
                    f"{spent['median']:.2f}",
                    f"{spent['lowest']:.2f} - {spent['highest']:.2f}",
                    f"{case['images_per_second']['median']:,.0f}",
                ]
            )
    columns = ["model", "D", "input", "MB", "ms an image", "lowest - highest", "images/s"]
    parts: list[Part] = [Table("", columns, rows)]
    if bars:
        drawn = svg.ranges("milliseconds an image", bars, logarithmic=True)
        parts.append(
            Plot("models", drawn, "Milliseconds an image by model, provider and batch, with the range of the rounds")
        )
    question = "The model alone, over ready pixels."
    return Section("How fast is each model?", question, command, parts, [*result["notes"], *failed])


def ingest_section(result: Result, command: str) -> Section:
    """Return the section of a result of `ingest`."""
    parts = [part for one in result["models"] for part in embedding_parts(one)]
    question = f"{result['source']}: the command line beside its model alone, and other ways from files to vectors."
    return Section("How fast does an ingest run?", question, command, parts, result["notes"])


def embedding_parts(measured: Mapping[str, Any]) -> list[Part]:
    """Return the tables of one model's ways from image files to vectors."""
    rows = []
    for part in measured["parts"]:
        rate = part["images_per_second"]
        if rate is None:
            rows.append([part["name"], "-", "-", "-", "-", f"not measured: {part['missing']}"])
            continue
        rows.append(
            [
                part["name"],
                f"{rate['median']:,.1f}",
                f"{rate['lowest']:,.1f} - {rate['highest']:,.1f}",
                _known(part["core_milliseconds"], ".2f"),
                _known(part["peak_megabytes"], ",.0f"),
                part["what"],
            ]
        )
    columns = ["way", "images/s", "lowest - highest", "processor ms an image", "MB", "what it is"]
    ratios = [
        [
            f"{one['of']} / {one['to']}",
            f"{one['by_clock']['median']:.3f}",
            f"{one['by_clock']['lowest']:.3f} - {one['by_clock']['highest']:.3f}",
            _known(one["by_processor"], ".3f"),
        ]
        for one in measured["ratios"]
    ]
    return [
        Table(f"{measured['model']}, {measured['stored']:,} pictures", columns, rows),
        Table("Round by round", ["ratio", "by the clock", "lowest - highest", "by processor time"], ratios),
    ]


def model_names(models: Sequence[Result]) -> list[str]:
    """Return a name for each model that tells it from the others."""
    names = [model_name(str(one["name"]), str(one["precision"])) for one in models]
    return [
        name if names.count(name) == 1 else f"{name} {one['sha256'][:6]}"
        for name, one in zip(names, models, strict=True)
    ]


def _known(value: float | None, digits: str) -> str:
    return "-" if value is None else format(value, digits)

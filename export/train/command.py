"""`cbir-export head` and `finetune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbir import terminal
from cbir.errors import CbirError, UsageError
from cbir.text import one_line

from .. import options

if TYPE_CHECKING:
    from .head import Trained

Data = Annotated[str, typer.Argument(metavar="DATA", help="Labelled images, as `cbir-ingest` takes them.")]
Dimension = Annotated[int, typer.Option(min=2, max=4096, help="Length of the new vectors.")]
Epochs = Annotated[int, typer.Option(min=1, help="At most.")]


def head(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="File whose vectors are trained on.")],
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    label: options.Label = None,
    top_classes: options.TopClasses = None,
    limit: options.Limit = None,
    dimension: Dimension = 256,
    hidden: Annotated[
        int, typer.Option(min=0, max=8192, help="Width of the hidden layer; 0 is none, a linear projection.")
    ] = 512,
    epochs: Epochs = 30,
    seed: options.Seed = 42,
) -> None:
    """Train a head for your own classes on a model's frozen vectors, and write both as one file.

    70 % of the images are for training, 15 % choose the epoch, and the figures are of the last 15 %.
    """
    from cbir.evaluation.embeddings import embed_labelled, open_labelled
    from cbir.models.embedder import load_embedder
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    with options.needs_export():
        from .head import HeadOptions, train_head, training_of, write_with_head
    path = options.writable_model(output)
    _refuse_overwriting(model, path)
    settings = Settings()
    embedder = load_embedder(model, settings, threads=1)
    if embedder.card.training is not None:
        raise UsageError(f"{model} has a trained head already; train one on the model without it")
    name, items = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    labelled = embed_labelled(name, items, embedder, settings, progress=terminal.progress)
    trained = train_head(labelled, HeadOptions(dimension=dimension, hidden=hidden, epochs=epochs, seed=seed))
    training = training_of("head", name, label, labelled.labels, trained, seed)
    write_with_head(embedder, trained.head, training, path)
    _show_training(path, name, trained)


def finetune(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Backbone, as in `list`, or timm:NAME.")],
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; the weights go beside it.")],
    label: options.Label = None,
    top_classes: options.TopClasses = None,
    limit: options.Limit = None,
    weights: options.Weights = None,
    crop: options.CropOption = None,
    size: options.Size = None,
    precision: options.PrecisionOption = "fp16",
    blocks: Annotated[int, typer.Option(min=1, help="How many of the last blocks are trained.")] = 2,
    dimension: Dimension = 256,
    epochs: Epochs = 5,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images at once.")] = 32,
    learning_rate: Annotated[float, typer.Option(min=1e-7, max=1.0, help="For the blocks.")] = 1e-4,
    device: Annotated[
        str | None, typer.Option(help="Torch's name of it.", show_default="cuda where there is one, else cpu")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    seed: options.Seed = 42,
) -> None:
    """Train the last blocks of a backbone and a head for your own classes, and write both as one file.

    For a GPU, or patience. Try `head` first, which takes seconds.
    """
    from cbir.evaluation.embeddings import open_labelled
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    with options.needs_export():
        from ..backbone import load_backbone
        from ..convert.build import BuildOptions, build_model
        from ..convert.to_onnx import export
        from ..zoo import find_backbone
        from .finetune import FinetuneOptions, save_weights
        from .finetune import finetune as train
        from .head import training_of
    path = options.writable_model(output)
    weights_path = path.with_suffix(".safetensors")
    _refuse_overwriting(Path(weights or "hub"), weights_path)
    choice = options.input_choice(crop, size)
    build_options = BuildOptions(precision=options.known_precision(precision), choice=choice)
    source, items = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    loaded = load_backbone(find_backbone(name), weights, choice)
    export(loaded)  # fails here, before the hours of training, if torch cannot export it
    train_options = FinetuneOptions(
        blocks,
        dimension,
        epochs,
        batch_size,
        learning_rate,
        seed,
        device,
        workers,
        Settings().max_image_megapixels,
    )
    try:
        trained = train(loaded, items, train_options).trained
    except RuntimeError as error:  # torch's, for example out of memory
        raise CbirError(f"the training failed: {one_line(error)[:300]}") from None
    training = training_of("finetune", source, label, [str(item.label) for item in items], trained, seed)
    saved = save_weights(loaded, weights_path)
    build_model(saved, path, path.stem, build_options, trained.head, training)
    _show_training(path, source, trained)


def _refuse_overwriting(read: Path, written: Path) -> None:
    if read.exists() and written.exists() and read.samefile(written):
        raise UsageError(f"{written} would be written over, and it is what is read; choose another --output")


def _show_training(path: Path, data: str, trained: "Trained") -> None:
    from ..listing import new_console, show_accuracy

    show_accuracy(data, [("before", trained.before), ("after", trained.after)])
    new_console().print(
        f"{path}: trained on {len(trained.parts.train):,} images, best after epoch {trained.epoch},"
        f" {path.stat().st_size / 1e6:.1f} MB",
        soft_wrap=True,
    )

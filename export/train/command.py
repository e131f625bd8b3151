"""`cbir-export head` and `train`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cbir import terminal
from cbir.errors import CbirError, UsageError
from cbir.text import one_line

from .. import options

if TYPE_CHECKING:
    from cbir.evaluation.retrieval import Accuracy

log = logging.getLogger(__name__)

Data = Annotated[str, typer.Argument(metavar="DATA", help="Labelled images: any source of `cbir-ingest`.")]
Dimension = Annotated[int, typer.Option(min=2, max=4096, help="Length of the new vectors.")]
Epochs = Annotated[int, options.training_option(min=1, help="Maximum number of epochs.")]


def head(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx", help="File, or packaged model, whose vectors are trained on.")
    ],
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    label: options.Label = None,
    top_classes: options.TopClasses = None,
    limit: options.Limit = None,
    dimension: Dimension = 256,
    hidden: Annotated[
        int, typer.Option(min=0, max=8192, help="Width of the hidden layer. 0: a linear projection without one.")
    ] = 512,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep MODEL's vectors behind the head's. A score is the mean of both.")
    ] = False,
    epochs: Epochs = 30,
    seed: options.Seed = 42,
) -> None:
    """Train a head for your own classes on a model's frozen vectors, and write both as one file.

    70 % of the images are for training and 15 % choose the epoch. The accuracy printed is that of the last 15 %.
    """
    from cbir.evaluation.embeddings import embed_labelled, open_labelled
    from cbir.models.embedder import load_embedder
    from cbir.models.sealed import find_model
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    from .head import describe_training, train_head, write_with_head

    options.check_output(output)
    source = find_model(str(model))
    options.check_not_input(source, output)
    settings = Settings()
    embedder = load_embedder(source, settings, threads=1)
    if embedder.card.training is not None:
        raise UsageError(f"{model} already has a trained head. Use the model without it")
    name, items = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    labelled = embed_labelled(name, items, embedder, settings, progress=terminal.progress)
    trained = train_head(labelled, dimension, hidden, epochs, seed, keep)
    training = describe_training("head", name, label, labelled.labels, trained.parts, trained.after, seed)
    write_with_head(embedder, trained.head, training, output)
    _show_training(output, name, trained.before, trained.after, len(trained.parts.train), trained.epoch)


def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Backbone of `list`, or timm:NAME.")],
    data: Data,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write. Its weights are written next to it, and meanwhile a folder to continue from.",
            show_default="NAME-trained.onnx",
        ),
    ] = None,
    label: options.Label = None,
    top_classes: options.TopClasses = None,
    limit: options.Limit = None,
    weights: options.Weights = None,
    crop: options.CropOption = None,
    size: options.Size = None,
    precision: Annotated[
        Literal["fp32", "fp16"],
        options.training_option(help="Precision of the file. `quantize` makes int8 of it."),
    ] = "fp32",
    loss: Annotated[
        Literal["softmax", "arcface", "cosface", "proxy-anchor", "supcon", "triplet"],
        options.training_option(help="What is minimised. The page Models compares them."),
    ] = "softmax",
    blocks: Annotated[
        int | None,
        options.training_option(
            min=1, help="Train only this many of the last blocks of given weights.", show_default="everything"
        ),
    ] = None,
    dimension: Dimension = 256,
    epochs: Epochs = 30,
    patience: Annotated[
        int, options.training_option(min=1, help="Stop after this many epochs without a better validation P@5.")
    ] = 10,
    batch_size: Annotated[int, options.training_option("--batch-size", "-b", min=2, help="Images per batch.")] = 64,
    learning_rate: Annotated[
        float | None,
        options.training_option(
            min=1e-7,
            max=1.0,
            help="Highest learning rate of the backbone.",
            show_default="0.003 from scratch, 0.001 with layer norms, else 0.0001",
        ),
    ] = None,
    weight_decay: Annotated[float, options.training_option(min=0.0, max=1.0, help="Weight decay of AdamW.")] = 0.05,
    ema: Annotated[
        float,
        options.training_option(min=0.0, max=0.99999, help="Decay of the moving average of the weights. 0: none."),
    ] = 0.99,
    augmentation: Annotated[
        Literal["none", "light", "strong"],
        options.training_option(help="Random crops, flips and colours. strong also turns and erases."),
    ] = "light",
    bf16: Annotated[
        bool | None,
        options.training_option("--bf16/--no-bf16", help="Mixed precision with bfloat16.", show_default="on a GPU"),
    ] = None,
    device: Annotated[
        str | None,
        options.training_option(help="Device, as torch names it.", show_default="cuda if available"),
    ] = None,
    workers: Annotated[
        int | None, options.training_option(min=0, help="Threads that decode images.", show_default="one per core")
    ] = None,
    seed: options.Seed = 42,
    restart: Annotated[bool, typer.Option("--restart", help="Start anew instead of continuing.")] = False,
) -> None:
    """Train a backbone for your own classes, from scratch or from given weights, and write it as one file.

    70 % of the images are for training and 15 % choose the epoch. The accuracy printed is that of the last 15 %.

    If it is interrupted, or killed, the same command continues where it was.
    """
    from cbir.evaluation.embeddings import open_labelled
    from cbir.evaluation.retrieval import split
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    from ..backbone import load_backbone
    from ..convert.to_onnx import export
    from ..zoo import TIMM_PREFIX, InputChoice, find_backbone
    from .checkpoint import working_folder
    from .images import prepare_images
    from .loop import train as train_network
    from .network import find_device, has_layer_norms, last_blocks
    from .recipe import SCRATCH, Recipe, learning_rates
    from .result import keep_result, write_trained

    output = output or Path(f"{name.removeprefix(TIMM_PREFIX)}-trained.onnx")
    options.check_output(output)
    options.check_not_input(Path(weights or "hub"), output.with_suffix(".safetensors"))
    scratch = weights == SCRATCH
    if scratch and blocks is not None:
        raise UsageError("--blocks needs trained weights. Remove it to train everything from scratch")
    settings, choice, found_device = Settings(), InputChoice(crop, size), find_device(device)
    source, items = open_labelled(data, SourceOptions(label=label, top_classes=top_classes, limit=limit))
    split([str(item.label) for item in items], seed)  # fails before anything is loaded if classes are too small
    loaded = load_backbone(find_backbone(name), weights, choice, seed)
    if blocks is not None:
        last_blocks(loaded.module, blocks)
    plain = export(loaded)  # before hours of training, fail if torch cannot export the backbone
    rate, head_rate = learning_rates(learning_rate, scratch, has_layer_norms(loaded.module))
    recipe = Recipe(
        backbone=name,
        weights=SCRATCH if scratch else loaded.weights.origin,
        weights_sha256=loaded.weights.sha256,
        size=loaded.rule.size,
        crop=loaded.rule.crop,
        loss=loss,
        dimension=dimension,
        blocks=blocks,
        augmentation=augmentation,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        learning_rate=rate,
        head_learning_rate=head_rate,
        weight_decay=weight_decay,
        warm_up=0.05,
        ema_decay=ema,
        bf16=found_device.type == "cuda" if bf16 is None else bf16,
        seed=seed,
    )
    progress = terminal.progress
    try:
        with working_folder(output, recipe, restart) as folder:
            images = prepare_images(
                items, loaded.rule, folder, settings.max_image_megapixels, workers or settings.workers, progress
            )
            trained = train_network(loaded, plain, images, recipe, folder, found_device)
            card = write_trained(loaded, trained, images, recipe, (source, label), output, precision)
    except RuntimeError as error:  # torch's, for example out of memory
        raise CbirError(
            f"The training failed: {one_line(error)[:300]}. If memory is short, use a smaller --batch-size or --size"
        ) from None
    except KeyboardInterrupt:
        log.warning("interrupted: the same command continues from the last checkpoint")
        raise
    keep_result(card, settings.reports)
    position = trained.position
    _show_training(output, source, position.before, trained.after, len(trained.parts.train), position.best_epoch)


def _show_training(
    path: Path, data: str, before: "Accuracy | None", after: "Accuracy", images: int, epoch: int
) -> None:
    from ..listing import show_accuracy

    show_accuracy(data, [*([("before", before)] if before else []), ("after", after)])
    typer.echo(f"{path}: trained on {images:,} images, best after epoch {epoch}, {path.stat().st_size / 1e6:.1f} MB")

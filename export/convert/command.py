"""`cbir-export build`, `quantize` and `join`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbir.errors import UsageError

from .. import options

if TYPE_CHECKING:
    from ..backbone import Loaded
    from ..text.pair import PairText

_int8 = partial(typer.Option, rich_help_panel="Precision int8")

Calibrate = Annotated[
    str | None, _int8(metavar="DATA", help="Images for the calibration of int8.", show_default="sample://openmoji")
]


def build(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Backbones of `list`, or timm:NAME.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or folder to write.", show_default="NAME.onnx")
    ] = None,
    weights: options.Weights = None,
    precision: options.PrecisionOption = "fp16",
    crop: options.CropOption = None,
    size: options.Size = None,
    calibrate: Calibrate = None,
    force: Annotated[bool, _int8(help="Write an int8 file that differs too much from torch.")] = False,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A tokenizer.json for the text tower of SigLIP.", show_default="the hub's"),
    ] = None,
) -> None:
    """Build model files, and compare each with torch on images of the sample.

    Of CLIP, SigLIP and MobileCLIP, the text tower is built as well, as NAME-text.onnx, and compared on sample texts.

    The comparison is written next to the file, as NAME.parity.json. Exit code 1: a file differs too much from torch and
    was not written.
    """
    from ..backbone import load_backbone
    from ..zoo import InputChoice, find_backbone
    from .build import BuildOptions, build_model, default_name
    from .parity import SAMPLE

    for option, given in (("--calibrate", calibrate is not None), ("--force", force)):
        if given and precision != "int8":
            raise UsageError(f"{option} has no effect on {precision}. Remove it, or add --precision int8")
    build_options = BuildOptions(weights, precision, InputChoice(crop, size), calibrate or SAMPLE, force)
    backbones = [find_backbone(name) for name in names]
    paths = [Path(f"{default_name(backbone, build_options)}.onnx") for backbone in backbones]
    if output is not None:
        paths = [output / path for path in paths] if output.is_dir() or len(paths) > 1 else [output]
    for path in paths:
        options.check_output(path)
    if len(set(paths)) < len(paths):
        raise UsageError("Two backbones would be written to the same file. Build them separately, with -o")
    for backbone, path in zip(backbones, paths, strict=True):
        loaded = load_backbone(backbone, weights, build_options.choice)
        text = _load_text(loaded, tokenizer)
        record = build_model(loaded, path, default_name(backbone, build_options), build_options)
        final = record.links[-1].agreement
        typer.echo(
            f"{path}: {path.stat().st_size / 1e6:.1f} MB, cosine to torch: lowest {final.cosine_min:.6f},"
            f" median {final.cosine_p50:.6f}; {10 * final.neighbour_overlap:.2f} of ten neighbours are the same"
        )
        if text is not None:
            _write_text(text, record.sha256, path, precision)
        if weights == "random":
            typer.echo(f"warning: {path} has random weights. Use it to measure speed only", err=True)
        if record.forced:
            typer.echo(f"warning: {path} was written with --force. It differs too much from torch", err=True)


def _load_text(loaded: "Loaded", tokenizer: Path | None) -> "PairText | None":
    """Return the text tower of a backbone, None without one. Warn if its weights are missing."""
    if loaded.backbone.text is None and tokenizer is None:
        return None
    from ..text.pair import load_text

    text = load_text(loaded.backbone, loaded.weights, tokenizer)
    if text is None:
        typer.echo(
            f"warning: {loaded.weights.origin} has no weights of a text tower, so only the image model is built. Search"
            " by text needs weights of both towers in the format of open_clip",
            err=True,
        )
    return text


def _write_text(text: "PairText", images: str, model: Path, precision: options.Precision) -> None:
    """Write the text tower of the image model in the file `model`, whose checksum is `images`."""
    from cbir.models.sealed import TEXT_SUFFIX

    from ..text.pair import write_text

    path = model.with_name(f"{model.stem}{TEXT_SUFFIX}.onnx")
    record = write_text(text, images, path, precision)
    typer.echo(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB, cosine to torch of {record.texts} texts: lowest"
        f" {record.cosine_min:.6f}, median {record.cosine_p50:.6f}"
    )


def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An fp32 or fp16 file, or a packaged model.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="MODEL-int8.onnx")
    ] = None,
    calibrate: Calibrate = None,
    force: Annotated[bool, _int8(help="Write an int8 file that differs too much from MODEL.")] = False,
) -> None:
    """Make an int8 file of a model file, and compare it with that file on images of the sample. Needs no torch.

    The comparison is written next to the file, as NAME.parity.json. Exit code 1: the file differs too much and was not
    written.
    """
    from cbir.models.sealed import find_model

    from .parity import SAMPLE
    from .quantize_file import quantize_file

    path = output or Path(f"{model.stem}-int8.onnx")
    options.check_output(path)
    source = find_model(str(model))
    options.check_not_input(source, path)
    record = quantize_file(source, path, calibrate or SAMPLE, force)
    agreement = record.links[-1].agreement
    typer.echo(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB, cosine to {model}: lowest {agreement.cosine_min:.6f}, median"
        f" {agreement.cosine_p50:.6f}; {10 * agreement.neighbour_overlap:.2f} of ten neighbours are the same"
    )
    if agreement.precision_at_5_change is not None:
        typer.echo(
            f"Precision@5 on the sample: {agreement.precision_at_5:.4f} ({agreement.precision_at_5_change:+.4f})"
        )
    if record.forced:
        typer.echo(f"warning: {path} was written with --force. It differs too much from {model}", err=True)


def join(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL.onnx...", help="Files, or packaged models.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
) -> None:
    """Join model files into one whose vectors are theirs, one after the other. Needs no torch.

    A head on such vectors finds better than on those of one model, and costs the time of all. All files need the same
    input size and precision; images are resized by the rule of the first.
    """
    from cbir.models.sealed import find_model

    from .join import join_files

    options.check_output(output)
    sources = [find_model(str(model)) for model in models]
    for source in sources:
        options.check_not_input(source, output)
    record = join_files(sources, output)
    agreement = record.links[-1].agreement
    typer.echo(
        f"{output}: {output.stat().st_size / 1e6:.1f} MB, cosine to the joined files: lowest {agreement.cosine_min:.6f}"
    )

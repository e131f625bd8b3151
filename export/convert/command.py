"""`cbir-export build`."""

from pathlib import Path
from typing import Annotated

import typer

from cbir.errors import UsageError

from .. import options


def build(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As in `list`, or timm:NAME.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, or a folder.", show_default="NAME.onnx")
    ] = None,
    weights: options.Weights = None,
    precision: options.PrecisionOption = "fp16",
    crop: options.CropOption = None,
    size: options.Size = None,
    calibrate: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Images that int8 is calibrated on.", show_default="sample://openmoji"),
    ] = None,
    force: Annotated[bool, typer.Option(help="Write an int8 file that falls below its limits.")] = False,
) -> None:
    """Export backbones, compare each file with torch on images of the sample, and write it with its parity record."""
    with options.needs_export():
        from ..backbone import load_backbone
        from ..zoo import find_backbone
        from .build import BuildOptions, build_model, default_name
        from .parity import SAMPLE
    for option, given in (("--calibrate", calibrate is not None), ("--force", force)):
        if given and precision != "int8":
            raise UsageError(f"{option} means nothing for {precision}")
    build_options = BuildOptions(
        weights=weights,
        precision=options.known_precision(precision),
        choice=options.input_choice(crop, size),
        calibrate=calibrate or SAMPLE,
        force=force,
    )
    backbones = [find_backbone(name) for name in names]
    paths = [Path(f"{default_name(backbone, build_options)}.onnx") for backbone in backbones]
    if output is not None:
        paths = [output / path for path in paths] if output.is_dir() or len(paths) > 1 else [output]
    if len(set(map(options.writable_model, paths))) < len(paths):
        raise UsageError("two of the backbones would be written to one file; build them one by one, with -o")
    for backbone, path in zip(backbones, paths, strict=True):
        loaded = load_backbone(backbone, weights, build_options.choice)
        record = build_model(loaded, path, default_name(backbone, build_options), build_options)
        final = record.links[-1].agreement
        typer.echo(
            f"{path}: {path.stat().st_size / 1e6:.1f} MB, cosine to torch: lowest {final.cosine_min:.6f},"
            f" median {final.cosine_p50:.6f}; of ten neighbours {10 * final.neighbour_overlap:.2f} the same"
        )
        if weights == "random":
            typer.echo(f"warning: {path} has random weights; use it to measure speed only", err=True)
        if record.forced:
            typer.echo(f"warning: {path} is below the limits of {precision}; it was forced", err=True)

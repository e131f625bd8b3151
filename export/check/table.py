"""Build backbones, measure them in one run, and describe them as a Markdown table."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cbir.images.decode import decode
from cbir.models.card import Agreement
from cbir.models.embedder import Embedder
from cbir.text import one_line

from ..backbone import figures_of, load_backbone
from ..convert.build import BuildOptions, build_model, default_name
from ..convert.parity import sample_images
from ..weights import available
from ..zoo import Backbone, Figures
from .compare import BATCHES, in_turns

log = logging.getLogger(__name__)

_FORMS = ("torch", "fp32", "int8")


@dataclass(frozen=True)
class Row:
    """One backbone's figures.

    Attributes:
        name: The backbone.
        weights: Where they come from.
        figures: Dimension, input, parameters, GFLOPs.
        megabytes: Size of the file in fp32 and in int8.
        milliseconds: Of one image, by form (torch, fp32, int8) and batch size.
        fp32: How the fp32 file agrees with torch.
        int8: How the int8 file agrees with torch.
        int8_refused: True if `build` would refuse the int8 file without `--force`.
    """

    name: str
    weights: str
    figures: Figures
    megabytes: tuple[float, float]
    milliseconds: dict[tuple[str, int], float]
    fp32: Agreement
    int8: Agreement
    int8_refused: bool


def measure_row(backbone: Backbone, folder: Path) -> Row:
    """Build a backbone in fp32 and int8 into `folder`, with random weights if no others can be had, and time both.

    Raises:
        CbirError: It cannot be built.
    """
    weights = available(backbone)
    loaded = load_backbone(backbone, weights)
    options = [
        BuildOptions(weights=weights, precision="fp32"),
        BuildOptions(weights=weights, precision="int8", force=True),
    ]
    paths = [folder / f"{default_name(backbone, build)}.onnx" for build in options]
    records = [build_model(loaded, path, path.stem, build) for path, build in zip(paths, options, strict=True)]
    pixels = np.stack([loaded.rule.pixels(decode(data)) for data in sample_images(max(BATCHES)).files])
    embedders = [Embedder(path, provider="cpu") for path in paths]
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    times = {}
    for size in BATCHES:
        calls = [partial(loaded.module, planes[:size]), *(partial(model.run, pixels[:size]) for model in embedders)]
        with torch.inference_mode():
            for form, spent in zip(_FORMS, in_turns(calls), strict=True):
                times[form, size] = spent / size
    return Row(
        name=backbone.name,
        weights=loaded.weights.origin.partition(":")[0],
        figures=figures_of(loaded),
        megabytes=(paths[0].stat().st_size / 1e6, paths[1].stat().st_size / 1e6),
        milliseconds=times,
        fp32=records[0].links[-1].agreement,
        int8=records[1].links[-1].agreement,
        int8_refused=records[1].forced,
    )


def markdown(backbones: Sequence[Backbone], folder: Path) -> Iterator[str]:
    """Yield the lines of the table, each row as soon as it is measured; a row that fails says why."""
    times = " | ".join(f"torch / fp32 / int8, batch {size}" for size in BATCHES)
    first, last = (
        "backbone | weights | D | input | parameters | MB fp32 / int8",
        "cosine fp32 | int8: cosine, neighbours",
    )
    yield f"| {first} | {times} | {last} |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for backbone in backbones:
        log.info("%s", backbone.name)
        try:
            yield _line(measure_row(backbone, folder))
        except Exception as error:  # the other rows are still wanted
            yield f"| {backbone.name} | failed: {one_line(error)[:200]} |" + " |" * 8


def _line(row: Row) -> str:
    spent = [" / ".join(_short(row.milliseconds[form, size]) for form in _FORMS) for size in BATCHES]
    cells = [
        row.name,
        "**random**" if row.weights == "random" else row.weights,
        str(row.figures.dimension),
        str(row.figures.size),
        f"{row.figures.parameters:.1f} M",
        " / ".join(map(_short, row.megabytes)),
        *spent,
        f"{row.fp32.cosine_min:.6f}",
        f"{row.int8.cosine_p50:.3f}, {row.int8.neighbour_overlap:.2f}{' (refused)' if row.int8_refused else ''}",
    ]
    return f"| {' | '.join(cells)} |"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

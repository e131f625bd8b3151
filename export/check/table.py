"""The table of all backbones: built, measured beside each other in one run, as Markdown."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cbir.images.decode import decode
from cbir.models.sealed import Embedder
from cbir.terminal import one_line

from ..backbone import figures_of, load_backbone
from ..convert.build import BuildOptions, default_name, write_verified
from ..weights import available
from ..zoo import Backbone, Figures
from .compare import BATCHES, in_turns
from .parity import sample_pictures

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
        milliseconds: Of one picture, by form (torch, fp32, int8) and batch size.
        cosine_min: The lowest cosine between the fp32 file and torch.
        int8_cosine: The median cosine between the int8 file and torch.
        int8_overlap: Share of ten neighbours that are torch's, for the int8 file.
        int8_refused: True if `build` would refuse the int8 file without `--force`.
    """

    name: str
    weights: str
    figures: Figures
    megabytes: tuple[float, float]
    milliseconds: dict[tuple[str, int], float]
    cosine_min: float
    int8_cosine: float
    int8_overlap: float
    int8_refused: bool


def measure_row(backbone: Backbone, folder: Path) -> Row:
    """Build a backbone in fp32 and int8 into `folder`, and time both beside torch.

    With random weights where no others can be had.

    Raises:
        CbirError: It cannot be built.
    """
    weights = available(backbone)
    loaded = load_backbone(backbone, weights)
    options = [
        BuildOptions(weights=weights, precision="fp32"),
        BuildOptions(weights=weights, precision="int8", force=True),
    ]
    paths = [folder / f"{default_name(backbone, one)}.onnx" for one in options]
    records = [write_verified(loaded, path, path.stem, one) for path, one in zip(paths, options, strict=True)]
    pixels = [loaded.rule.pixels(decode(data)) for data in sample_pictures(max(BATCHES)).files]
    embedders = [Embedder(path, provider="cpu") for path in paths]
    planes = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    times = {}
    for size in BATCHES:
        batch = np.stack(pixels[:size])

        def eager(count: int = size) -> None:
            with torch.inference_mode():
                loaded.module(planes[:count])

        calls = [eager, *(lambda one=one, batch=batch: one.run(batch) for one in embedders)]
        for form, spent in zip(_FORMS, in_turns(calls), strict=True):
            times[form, size] = spent / size
    plain, small = (record.links[-1].agreement for record in records)
    return Row(
        name=backbone.name,
        weights=loaded.weights.origin.partition(":")[0],
        figures=figures_of(loaded),
        megabytes=(paths[0].stat().st_size / 1e6, paths[1].stat().st_size / 1e6),
        milliseconds=times,
        cosine_min=plain.cosine_min,
        int8_cosine=small.cosine_p50,
        int8_overlap=small.neighbour_overlap,
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
        " / ".join(_short(one) for one in row.megabytes),
        *spent,
        f"{row.cosine_min:.6f}",
        f"{row.int8_cosine:.3f}, {row.int8_overlap:.2f}{' (refused)' if row.int8_refused else ''}",
    ]
    return f"| {' | '.join(cells)} |"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

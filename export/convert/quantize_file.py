"""Make an int8 model file of an fp32 or fp16 one, without torch."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import onnx

from cbir.errors import UsageError
from cbir.images.decode import decode
from cbir.models.embedder import Embedder
from cbir.models.sealed import TEXT_SUFFIX
from cbir.models.text_tower import belongs_to, own_text_tower

from .model_file import graph_vectors, write_for_another, write_with_record
from .parity import Link, Record, compare_vectors, require, sample_images, shortfall
from .quantize import CALIBRATION_IMAGES, quantize

_MADE_WITH = ("cbir", "numpy", "onnx", "onnxruntime")


def quantize_file(source: Path, target: Path, calibrate: str, force: bool) -> Record:
    """Write the int8 file of a model file, and return the parity record written next to it.

    The text tower next to the model file is written again next to the int8 file, and belongs to both.

    Its agreement is with `source`, whose vectors are torch's up to the precision of fp16. Raise `CbirError`, and write
    nothing, if the vectors differ too much from that and `force` is not set.
    """
    embedder = Embedder(source, device="cpu")
    if embedder.card.precision == "int8":
        raise UsageError(f"{source} is an int8 file already. Pass an fp32 or fp16 file")
    images = sample_images()
    calibration = sample_images(CALIBRATION_IMAGES, 0.25, calibrate)
    model = quantize(onnx.load(source), [embedder.pixels(decode(data)) for data in calibration.files])
    versions = {name: version(name) for name in _MADE_WITH}
    card = replace(embedder.card, precision="int8", exporter=embedder.card.exporter | versions)
    vectors = graph_vectors(model, card, images.files)
    agreement = compare_vectors(embedder.embed(images.files), vectors, images.labels)
    forced = force and shortfall(agreement, "int8") is not None
    if not forced:
        require(agreement, "int8", "Use --force to write it anyway", str(source))
    link = Link(f"onnx {embedder.card.precision}", "onnx int8", agreement)
    record = write_with_record(model, card, target, [link], images, calibration, forced)
    tower = own_text_tower(source)
    if tower is not None and not belongs_to(tower, record.sha256):
        write_for_another(tower, record.sha256, target.with_name(f"{target.stem}{TEXT_SUFFIX}.onnx"))
    return record

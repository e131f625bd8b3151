"""Write a graph as a model file, with its card, its checksum and a parity record. Needs no torch."""

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx

from cbir.errors import CbirError
from cbir.index.files import write_atomically
from cbir.models.card import CARD, TEXT_CARD, ModelCard
from cbir.models.embedder import Embedder
from cbir.models.sealed import CARD_FIELD, TEXT_CARD_FIELD, checksum_of
from cbir.records import Vector

from ..graph import sealed_file
from .parity import LIMITS, RECORD, Link, Record, SampleImages

MAX_BYTES = 2**31 - 1  # of one ONNX file


def write_model(model: onnx.ModelProto, card: ModelCard, path: Path) -> str:
    """Write the model with its card and checksum atomically, and return the checksum."""
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)  # ByteSize() fails above the limit
    if size > MAX_BYTES - 2**24:
        raise CbirError(f"{card.name} has {size / 1e9:.1f} GB in {card.precision}. An ONNX file holds up to 2 GB")
    data = sealed_file(model, {CARD_FIELD: CARD.dump_json(card, by_alias=True).decode()})
    write_atomically(path, data)
    return checksum_of(data)


def write_with_record(
    model: onnx.ModelProto,
    card: ModelCard,
    path: Path,
    links: list[Link],
    images: SampleImages,
    calibration: SampleImages | None = None,
    forced: bool = False,
) -> Record:
    """Write a model file, with its last link in the card, and the parity record NAME.parity.json next to it."""
    checksum = write_model(model, replace(card, to_torch=links[-1].agreement), path)
    source = calibration.source if calibration else None
    record = Record(card.name, checksum, images.source, source, LIMITS[card.precision], forced, links)
    path.with_suffix(".parity.json").write_bytes(RECORD.dump_json(record, indent=1) + b"\n")
    return record


def write_for_another(tower: Path, sha256: str, path: Path) -> None:
    """Write a text tower again that also belongs to the image model with this checksum."""
    model = onnx.load(tower)
    metadata = {field.key: field.value for field in model.metadata_props}
    card = TEXT_CARD.validate_json(metadata[TEXT_CARD_FIELD])
    card = replace(card, name=path.stem, images=(*card.images, sha256))
    write_atomically(path, sealed_file(model, metadata | {TEXT_CARD_FIELD: TEXT_CARD.dump_json(card).decode()}))


def graph_vectors(model: onnx.ModelProto, card: ModelCard, files: list[bytes]) -> Vector:
    """Return the (N, D) unit vectors of a model file with this graph."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "draft.onnx"
        write_model(model, card, path)
        return Embedder(path, device="cpu").embed(files)

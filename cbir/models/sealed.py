"""The sealed model file: one ONNX file that maps pixels to unit vectors.

Its graph takes uint8 RGB pixels (N, H, W, 3) and returns unit vectors, float32 (N, D). Its metadata holds a `ModelCard`
as JSON under `cbir`. Under `cbir.sha256` it holds the file's checksum: the SHA-256 of the file with zeros in place of
the 64 digits. This shows whether any byte of the file has changed.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cbir.devices import Arithmetic
from cbir.errors import CbirError, UsageError
from cbir.models.card import CARD, ModelCard, ModelRef
from cbir.models.protobuf import parts, texts

CARD_FIELD = "cbir"
TEXT_CARD_FIELD = "cbir.text"
CHECKSUM_FIELD = "cbir.sha256"
BLANK_CHECKSUM = "0" * 64
PACKAGED = Path(__file__).parent.parent / "weights"
DEFAULT_MODEL = "efficientnet_lite0"
TEXT_SUFFIX = "-text"
"""What the name of a text tower's file adds to that of the image model."""

TEXT_MODEL = "text.onnx"
"""The name of the text tower's file in a collection."""

_INT8 = "-int8"
_METADATA = 14  # the field in onnx.proto


def find_model(name: str) -> Path:
    """Return the path of a packaged model, or of a model file; raise `UsageError` if there is neither."""
    for path in (PACKAGED / f"{name}.onnx", Path(name)):
        if path.is_file():
            return path
    packaged = ", ".join(sorted(path.stem for path in PACKAGED.glob("*.onnx") if not path.stem.endswith(TEXT_SUFFIX)))
    raise UsageError(
        f"no model {name!r}: neither a file nor a packaged model ({packaged}). Make one with cbir-export build."
    )


def packaged_files(name: str) -> dict[Arithmetic, Path]:
    """Return the files of a packaged model by their precision, fp32 first; none if it is not packaged."""
    files: dict[Arithmetic, Path] = {"fp32": PACKAGED / f"{name}.onnx", "int8": PACKAGED / f"{name}{_INT8}.onnx"}
    if name.endswith(_INT8):  # the name of one file
        files = {"int8": files["fp32"]}
    return {precision: path for precision, path in files.items() if path.is_file()}


def seal(data: bytes) -> bytes:
    """Return a model file with its checksum filled in; its metadata must hold the field `cbir.sha256` already."""
    start, blank = _without_checksum(data)
    return blank[:start] + hashlib.sha256(blank).hexdigest().encode() + blank[start + 64 :]


def checksum_of(data: bytes) -> str:
    """Return the checksum that a model file holds. It also identifies the model."""
    start, _ = _without_checksum(data)
    return data[start : start + 64].decode("ascii", "replace")


def read_sealed(path: Path) -> bytes:
    """Return the bytes of a model file whose checksum matches; raise `UsageError` or `CbirError` for any other file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the model {path}: {error.strerror}") from None
    try:
        valid = seal(data) == data
    except ValueError:
        raise UsageError(f"{path} is not a model file of cbir. Make one with cbir-export build.") from None
    if not valid:
        raise CbirError(f"{path} is damaged: its bytes do not match its checksum. Download or build it again.")
    return data


def metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of an ONNX file; raise `ValueError` if it cannot be read."""
    entries = parts(memoryview(data), _METADATA)
    return {key: value for entry in entries for key, value in zip(texts(entry, 1), texts(entry, 2), strict=True)}


def find_unchanged(model: ModelRef, *paths: Path) -> Path | None:
    """Return the first of these files, or else of the packaged ones of its name, that is this model byte for byte."""
    for path in (*paths, *packaged_files(model.name).values()):
        with suppress(CbirError):
            if checksum_of(read_sealed(path)) == model.sha256:
                return path
    return None


def _without_checksum(data: bytes) -> tuple[int, bytes]:
    """Return the position of the checksum, and the bytes with zeros in its place."""
    # A metadata entry is a protobuf message of two strings: 0x0a, length, key, 0x12, length, value.
    field = CHECKSUM_FIELD.encode()
    marker = b"\x0a" + bytes([len(field)]) + field + b"\x12\x40"
    start = data.find(marker) + len(marker)
    if data.count(marker) != 1 or len(data) < start + 64:
        raise ValueError("no checksum")
    return start, data[:start] + BLANK_CHECKSUM.encode() + data[start + 64 :]


def read_card(path: Path, session: Any) -> ModelCard:
    """Return the card of a loaded model file; raise `UsageError` if it is missing or does not match the graph."""
    fields = session.get_modelmeta().custom_metadata_map
    if TEXT_CARD_FIELD in fields:
        raise UsageError(f"{path} is a text tower. Name the image model that it belongs to.")
    try:
        card = CARD.validate_json(fields[CARD_FIELD])
    except (KeyError, ValidationError):
        raise UsageError(f"{path} has no model card of cbir. Make the file with cbir-export build.") from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; a model file has one of each")
    pixels, vectors = inputs[0], outputs[0]
    side = card.input.size
    expected = ("images", "tensor(uint8)", [side, side, 3], [card.dimension])
    found = (pixels.name, pixels.type, pixels.shape[1:], vectors.shape[1:])
    if found != expected or isinstance(pixels.shape[0], int):
        raise UsageError(
            f"{path} maps {pixels.type} {pixels.shape} to {vectors.shape}; its card says"
            f" uint8 (N, {side}, {side}, 3) to (N, {card.dimension})"
        )
    return card

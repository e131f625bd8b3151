"""The sealed model file: one ONNX file that is the whole function from pixels to unit vectors.

Its graph takes uint8 RGB pixels (N, H, W, 3) and returns float32 (N, D) of length 1. Its metadata holds, as JSON
under `cbir`, a `ModelCard`, and under `cbir.sha256` the SHA-256 of the file itself, computed with the 64 digits
of that very field set to zeros. So a file proves by itself that no byte of it was changed.
"""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cbir.errors import CbirError, UsageError
from cbir.models.card import CARD, ModelCard

CARD_FIELD = "cbir"
CHECKSUM_FIELD = "cbir.sha256"
BLANK_CHECKSUM = "0" * 64
PACKAGED = Path(__file__).parent.parent / "weights"
DEFAULT_MODEL = "efficientnet_lite0"


def find_model(name: str) -> Path:
    """Return the model file for a packaged model's name or a path.

    Raises:
        UsageError: There is neither.
    """
    for path in (PACKAGED / f"{name}.onnx", Path(name)):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in PACKAGED.glob("*.onnx")))
    raise UsageError(
        f"no model {name!r}: neither a file nor a packaged model ({known}); make one with cbir-export build"
    )


def seal(data: bytes) -> bytes:
    """Return a model file's bytes with its seal filled in; its metadata must hold an unsealed `cbir.sha256`."""
    start, blank = _blank(data)
    digest = hashlib.sha256(blank).hexdigest().encode()
    return blank[:start] + digest + blank[start + 64 :]


def checksum_of(data: bytes) -> str:
    """Return the seal that a model file carries, which is also the fingerprint of the model."""
    start, _ = _blank(data)
    return data[start : start + 64].decode("ascii", "replace")


def read_sealed(path: Path) -> bytes:
    """Return the bytes of a model file whose seal holds.

    Raises:
        UsageError: It does not exist or has no seal.
        CbirError: The seal does not fit the bytes.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the model {path}: {error.strerror}") from None
    try:
        holds = seal(data) == data
    except ValueError:
        raise UsageError(f"{path} is not a model file of cbir; make one with cbir-export build") from None
    if not holds:
        raise CbirError(f"{path} is damaged: its bytes do not fit its SHA-256; fetch or build it again")
    return data


def _blank(data: bytes) -> tuple[int, bytes]:
    # A metadata entry is a protobuf message of two strings: 0x0a, length, key, 0x12, length, value.
    field = CHECKSUM_FIELD.encode()
    marker = b"\x0a" + bytes([len(field)]) + field + b"\x12\x40"
    at = data.find(marker)
    if at < 0 or data.find(marker, at + 1) >= 0 or len(data) < at + len(marker) + 64:
        raise ValueError("no seal")
    start = at + len(marker)
    return start, data[:start] + BLANK_CHECKSUM.encode() + data[start + 64 :]


def read_card(path: Path, session: Any) -> ModelCard:
    """Return the card of a loaded model file, checked against the graph.

    Raises:
        UsageError: It has none, or its graph takes or returns something else.
    """
    try:
        card = CARD.validate_json(session.get_modelmeta().custom_metadata_map[CARD_FIELD])
    except (KeyError, ValidationError):
        raise UsageError(f"{path} carries no model card of cbir; make it with cbir-export build") from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; a model file has one of each")
    pixels, vectors = inputs[0], outputs[0]
    side = card.input.size
    expected = ("images", "tensor(uint8)", [side, side, 3], [card.dimension])
    found = (pixels.name, pixels.type, pixels.shape[1:], vectors.shape[1:])
    if found != expected or isinstance(pixels.shape[0], int):
        raise UsageError(
            f"{path} takes {pixels.type} {pixels.shape} and gives {vectors.shape}, not what its card says:"
            f" uint8 (N, {card.input.size}, {card.input.size}, 3) to (N, {card.dimension})"
        )
    return card

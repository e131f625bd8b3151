"""Model files that came over the network: only whole ones of the right model are kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cbir.errors import UsageError
from cbir.models.received import Part, ReceivedModels
from cbir.models.sealed import BLANK_CHECKSUM, CHECKSUM_FIELD, checksum_of, seal
from tests.support.building import TINY_MODEL
from tests.support.text_file import text_card, write_tower

SHA256 = checksum_of(TINY_MODEL)


@pytest.fixture
def received(tmp_path: Path) -> Iterator[ReceivedModels]:
    """A cache in which no half or foreign file is left in the end."""
    yield ReceivedModels(tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.arriving"))


def tower_of(sha256: str, folder: Path) -> bytes:
    return write_tower(folder / "tower.onnx", text_card((sha256,))).read_bytes()


def test_a_model_arrives_in_pieces(received: ReceivedModels, tmp_path: Path) -> None:
    for at in range(0, len(TINY_MODEL), 20):
        received.append(SHA256, "model", at, TINY_MODEL[at : at + 20])
        assert not received.path(SHA256, "model").exists(), "nobody sees half a file"
    assert received.finish(SHA256, "model").read_bytes() == TINY_MODEL
    received.append(SHA256, "text", 0, tower_of(SHA256, tmp_path))
    assert received.finish(SHA256, "text").parent == received.path(SHA256, "model").parent


def test_a_missing_piece_is_noticed(received: ReceivedModels) -> None:
    received.append(SHA256, "model", 0, TINY_MODEL[:20])
    with pytest.raises(UsageError, match="20 bytes so far, not 30"):
        received.append(SHA256, "model", 30, TINY_MODEL[30:])
    received.append(SHA256, "model", 0, TINY_MODEL)  # begins anew
    assert received.finish(SHA256, "model").read_bytes() == TINY_MODEL


def with_external_weights() -> bytes:
    """Return the bytes of a sealed file that has the key of weights in another file."""
    field = CHECKSUM_FIELD.encode()
    entry = b"\x0a" + bytes([len(field)]) + field + b"\x12\x40" + BLANK_CHECKSUM.encode()
    return seal(entry + b"\x0a\x08location\x12\x04.env")


@pytest.mark.parametrize(
    ("part", "data", "message"),
    [
        ("model", b"no model at all", "not a whole model file"),
        ("model", TINY_MODEL[:-1], "not a whole model file"),
        ("model", TINY_MODEL + b"\x00", "not a whole model file"),
        ("model", with_external_weights(), "names other files"),
        ("text", TINY_MODEL, "not a text tower"),
    ],
)
def test_what_is_no_such_file_is_not_kept(part: Part, data: bytes, message: str, received: ReceivedModels) -> None:
    sha256 = checksum_of(data) if message == "names other files" else SHA256
    received.append(sha256, part, 0, data)
    with pytest.raises(UsageError, match=message):
        received.finish(sha256, part)
    assert not received.path(sha256, part).exists()


def test_another_model_and_its_tower_are_not_kept(received: ReceivedModels, tmp_path: Path) -> None:
    other = "1" * 64
    received.append(other, "model", 0, TINY_MODEL)
    with pytest.raises(UsageError, match=f"this is the model {SHA256[:12]}, not 111111111111"):
        received.finish(other, "model")
    received.append(SHA256, "text", 0, tower_of(other, tmp_path))
    with pytest.raises(UsageError, match="does not belong to the model"):
        received.finish(SHA256, "text")


@pytest.mark.parametrize("checksum", ["", "..", "../" * 21 + ".", "\0" * 64, "G" * 64, "0" * 63])
def test_a_checksum_cannot_be_a_path(checksum: str, received: ReceivedModels) -> None:
    with pytest.raises(UsageError, match="is no checksum of a model"):
        received.append(checksum, "model", 0, b"x")

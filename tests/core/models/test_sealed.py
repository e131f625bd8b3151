"""Model files: the checksum covers every byte, and anything else is refused in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbir.errors import CbirError, UsageError
from cbir.models.card import ModelRef
from cbir.models.embedder import Embedder
from cbir.models.sealed import (
    BLANK_CHECKSUM,
    CHECKSUM_FIELD,
    checksum_of,
    find_model,
    find_unchanged,
    read_sealed,
    seal,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_noticed(model_file: Path, tmp_path: Path, data: st.DataObject) -> None:
    good = bytearray(model_file.read_bytes())
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(good)
    with pytest.raises(CbirError):
        read_sealed(changed)


def test_a_seal_is_of_everything_but_itself() -> None:
    head, tail = b"begin\x0a" + bytes([len(CHECKSUM_FIELD)]) + CHECKSUM_FIELD.encode() + b"\x12\x40", b"end"
    sealed = seal(head + BLANK_CHECKSUM.encode() + tail)
    assert seal(sealed) == sealed
    assert checksum_of(sealed) != checksum_of(seal(head + BLANK_CHECKSUM.encode() + b"End"))


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "text": lambda data: b"<html>404</html>",
    "truncated": lambda data: data[: len(data) // 2],
    "another seal": lambda data: data.replace(checksum_of(data).encode(), b"a" * 64),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_no_model_is_one_line(change: str, model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(CHANGES[change](model_file.read_bytes()))
    with pytest.raises(CbirError, match="model.onnx") as caught:
        Embedder(path)
    assert "\n" not in str(caught.value)


def test_a_sealed_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    field = CHECKSUM_FIELD.encode()
    fake = b"junk\x0a" + bytes([len(field)]) + field + b"\x12\x40" + BLANK_CHECKSUM.encode() + b"junk"
    (tmp_path / "fake.onnx").write_bytes(seal(fake))
    with pytest.raises(UsageError, match="not a model that cbir can run: no ONNX"):
        Embedder(tmp_path / "fake.onnx")


def test_an_unknown_model_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no model 'resnet'.*efficientnet_lite0"):
        find_model("resnet")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite0-int8"])
def test_a_packaged_model_is_found_by_its_checksum(name: str, tmp_path: Path) -> None:
    """The name in both cards is the same."""
    path = find_model(name)
    model = ModelRef("efficientnet_lite0", checksum_of(read_sealed(path)), 1280, 1, False)
    assert find_unchanged(model, tmp_path / "missing.onnx") == path
    assert find_unchanged(replace(model, sha256="0" * 64)) is None

"""Reading fields of protobuf messages, which must not trust a byte of them."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cbir.models.protobuf import parts, texts, values
from tests.support.onnx_file import field

numbers = st.integers(1, 2**29 - 1)
contents = st.one_of(st.integers(0, 2**63 - 1), st.binary(max_size=300), st.text(max_size=50))
FIXED = b"\x09" + bytes(8) + b"\x15" + bytes(4)
"""A number of 8 bytes in field 1, and one of 4 bytes in field 2, which ONNX has in few places."""


@given(st.lists(st.tuples(st.integers(1, 5) | numbers, contents), max_size=12))
def test_the_values_of_a_field_are_those_written_in_their_order(written: list[tuple[int, Any]]) -> None:
    message = memoryview(b"".join(field(number, value) for number, value in written))
    for number in {number for number, _ in written} | {6}:
        expected = [value.encode() if isinstance(value, str) else value for other, value in written if other == number]
        assert values(message, number) == expected


@given(st.lists(st.text(max_size=300), max_size=5))
def test_texts_are_decoded_and_messages_are_views(written: list[str]) -> None:
    inner = memoryview(b"".join(field(2, text) for text in written) + field(3, 7))
    message = memoryview(field(14, bytes(inner)))
    (part,) = parts(message, 14)
    assert part == inner and part.obj is message.obj, "it is not copied"
    assert texts(part, 2) == written
    assert values(part, 3) == [7]


def test_numbers_of_a_fixed_size_are_skipped() -> None:
    assert values(memoryview(FIXED + field(3, "after")), 3) == [b"after"]


def test_a_number_is_no_text() -> None:
    for read in (parts, texts):
        with pytest.raises(ValueError, match="no ONNX: a number in place of a text or a message"):
            read(memoryview(field(1, "text") + field(1, 7)), 1)


def test_a_text_in_no_known_encoding_is_an_error() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        texts(memoryview(field(1, b"\xff\xfe")), 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x3b", "a field of kind 3"),
        (b"\x3e", "a field of kind 6"),
        (b"\xba\x80\x80\x80\x80\x80\x01\x00", "a field of kind 2"),  # its number has more than 29 bits
        (b"\x3a\x05ab", "a field longer than the file"),
        (b"\x09\x00", "a field longer than the file"),
        (b"\x15\x00", "a field longer than the file"),
        (b"\xff" * 11, "a number without an end"),
        (b"\x3a", "a number without an end"),
        (b"\x08\x80", "a number without an end"),
    ],
)
def test_a_malformed_field_is_an_error_in_a_line(data: bytes, message: str) -> None:
    for before in (b"", field(1, "text")):
        with pytest.raises(ValueError, match=f"^no ONNX: {message}$"):
            values(memoryview(before + data), 7)


@given(st.binary(max_size=200), st.integers(1, 30))
@example(b"\x80" * 10 + b"\x01", 1)
def test_any_bytes_are_read_or_are_an_error(data: bytes, number: int) -> None:
    for read in (values, parts, texts):
        try:
            found = read(memoryview(data), number)
        except ValueError as error:
            assert str(error)
        else:
            assert len(found) <= len(data)

"""Reads the fields of a protobuf message, such as an ONNX file. A damaged message is a `ValueError`.

The package `onnx` is not in the base install, and would copy all weights.
"""

from collections.abc import Iterator
from typing import Any


def texts(message: memoryview, field: int) -> list[str]:
    """Return the texts of a field in a protobuf message."""
    return [bytes(value).decode() for value in parts(message, field)]


def parts(message: memoryview, field: int) -> list[memoryview]:
    """Return the bytes of a field that holds texts or messages, not numbers."""
    found = values(message, field)
    if any(isinstance(value, int) for value in found):
        raise ValueError("no ONNX: a number in place of a text or a message")
    return found


def values(message: memoryview, field: int) -> list[Any]:
    """Return the values of a field in a protobuf message: numbers, or the bytes of texts and of other messages."""
    return [value for number, value in _fields(message) if number == field]


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    position = 0
    while position < len(message):
        tag, position = _number(message, position)
        kind = tag & 7
        if kind not in (0, 1, 2, 5) or tag >= 2**32:
            raise ValueError(f"no ONNX: a field of kind {kind}")
        number, end = _number(message, position) if kind in (0, 2) else (0, position + (8 if kind == 1 else 4))
        start, end = end, end + (number if kind == 2 else 0)
        if end > len(message):
            raise ValueError("no ONNX: a field longer than the file")
        yield tag >> 3, message[start:end] if kind == 2 else number
        position = end


def _number(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number of up to 10 bytes at a position, and the position after it."""
    value = 0
    for shift, byte in zip(range(0, 70, 7), message[position:], strict=False):
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position + shift // 7 + 1
    raise ValueError("no ONNX: a number without an end")

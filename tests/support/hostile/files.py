"""A hostile file and its expected outcome, which is STORED, IGNORED or the start of the reason for skipping it."""

from typing import NamedTuple

STORED = "stored"
IGNORED = "ignored"
EMPTY = "empty file"
UNKNOWN = "not an image of a known format"
DAMAGED = "damaged image: "
UNSUPPORTED = "unsupported image: "
TOO_LARGE = "too large: "


class HostileFile(NamedTuple):
    """A file of the corpus: its path below the folder, its bytes and its expected outcome."""

    name: str
    data: bytes
    outcome: str

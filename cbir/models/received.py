"""Model files that came over the network, kept in the cache by the checksum of their model."""

import os
import re
from pathlib import Path
from typing import Literal

from cbir.errors import CbirError, UsageError
from cbir.models.sealed import TEXT_MODEL, checksum_of, read_sealed
from cbir.models.text_tower import belongs_to

Part = Literal["model", "text"]
"""A model file, or its text tower."""

_NAMES: dict[Part, str] = {"model": "model.onnx", "text": TEXT_MODEL}
_CHECKSUM = re.compile("[0-9a-f]{64}")
_ELSEWHERE = (b"\x08location", b"\x00location")
"""The key of `external_data` in onnx.proto, after its length in any spelling."""


class ReceivedModels:
    """The received models in a cache folder. A file that is no model, or another one, is never kept."""

    def __init__(self, cache: Path):
        self._folder = cache / "models"

    def path(self, sha256: str, part: Part) -> Path:
        """Return where a file is kept. It may not exist.

        Raises:
            UsageError: The checksum is none, and could be a path to another folder.
        """
        if not _CHECKSUM.fullmatch(sha256):
            raise UsageError(f"{sha256[:100]!r} is no checksum of a model: these have 64 hexadecimal digits")
        return self._folder / sha256 / _NAMES[part]

    def append(self, sha256: str, part: Part, start: int, data: bytes) -> None:
        """Write a piece of a file that begins at byte `start`. The first piece begins it anew.

        Raises:
            UsageError: The piece before is missing.
        """
        arriving = self._arriving(sha256, part)
        arriving.parent.mkdir(parents=True, exist_ok=True)
        with arriving.open("ab" if start else "wb") as file:
            if file.tell() != start:
                raise UsageError(f"the model file has {file.tell():,} bytes so far, not {start:,}; send it again")
            file.write(data)

    def finish(self, sha256: str, part: Part) -> Path:
        """Keep a file whose pieces are complete, and return its path.

        Raises:
            UsageError: It is no such file, or that of another model.
        """
        arriving = self._arriving(sha256, part)
        try:
            _check(arriving, sha256, part)
            with arriving.open("rb") as file:
                os.fsync(file.fileno())
            return arriving.replace(self.path(sha256, part))
        finally:
            arriving.unlink(missing_ok=True)

    def _arriving(self, sha256: str, part: Part) -> Path:
        return self.path(sha256, part).with_suffix(".arriving")


def _check(path: Path, sha256: str, part: Part) -> None:
    """Raise `UsageError` unless a file is a part of the model with this checksum, and all of it.

    A model may say that its weights are in other files; then it would read those of this machine.
    """
    try:
        data = read_sealed(path)
    except CbirError:  # its message names a file of this machine
        raise UsageError("this is not a whole model file of cbir") from None
    if any(key in data for key in _ELSEWHERE):
        raise UsageError("the model file names other files with its weights; send one that holds them")
    if part == "text" and not belongs_to(path, sha256):
        raise UsageError(f"the text tower does not belong to the model {sha256[:12]}")
    if part == "model" and checksum_of(data) != sha256:
        raise UsageError(f"this is the model {checksum_of(data)[:12]}, not {sha256[:12]}")

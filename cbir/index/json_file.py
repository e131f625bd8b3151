"""JSON files with a checksum, each of which holds a dataclass."""

import hashlib
import json
from collections.abc import Hashable
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from cbir.errors import DamageError
from cbir.index.files import sync, write_atomically

T = TypeVar("T")
_CHECKSUM = "checksum"
_adapter = cache(TypeAdapter)  # making one takes ten times as long as reading a pointer


def load(path: Path, kind: type[T]) -> T:
    """Return the dataclass `kind` from a JSON file; raise `DamageError` if the file is missing or damaged.

    Files of older versions have no checksum.
    """
    try:
        return cast(T, _content(path.read_bytes(), cast(Hashable, kind)))
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not written by cbir"
        raise DamageError(f"{path}: {reason}") from None
    except DamageError as error:
        raise DamageError(f"{path}: {error}") from None


@lru_cache(maxsize=64)  # a change reads the same manifest several times
def _content(data: bytes, kind: Hashable) -> object:
    content: object = _adapter(kind).validate_json(data)
    fields = json.loads(data)
    checksum = fields.pop(_CHECKSUM, None)
    if checksum not in (None, hashlib.sha256(_as_json(fields)).hexdigest()):
        raise DamageError("its bytes differ from what was written")
    return content


def save(path: Path, content: Any) -> str:
    """Write a dataclass as JSON with a checksum, atomically; return the SHA-256 of the file."""
    fields = asdict(content)
    data = _as_json({**fields, _CHECKSUM: hashlib.sha256(_as_json(fields)).hexdigest()})
    write_atomically(path, data)
    sync(path.parent)
    return hashlib.sha256(data).hexdigest()


def _as_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=1, sort_keys=True).encode()

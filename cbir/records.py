"""Plain data: an item of a source, a point for a store, a hit of a search."""

import base64
import hashlib
import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]
Payload = Mapping[str, Any]

LABEL = "label"
"""The payload field with the class. A column of this name is the class, unless another is named."""

RESERVED = ("key", LABEL, "sha256")
"""Payload fields that cbir writes itself; a user's column with such a name gets an underscore appended."""

IDENTITY = ("key", "sha256")
"""Those of them that identify the image of a point; users cannot change them, and filters do not offer them."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_CANONICAL = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
_NAMESPACE = uuid.UUID("b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51")


@dataclass(frozen=True, slots=True)
class Item:
    """An image of a source, not read yet.

    Attributes:
        key: Its name, unique and stable within the data set, such as a relative path.
        read: Returns the file's bytes; raises `ImageError` or `OSError`.
        label: Its class, if it has one.
        payload: Further fields to store with the vector.
        version: A token that changes with the content and is cheap to get, such as size and mtime; "" for none.
    """

    key: str
    read: Callable[[], bytes]
    label: str | None = None
    payload: Payload | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """An embedded image, ready to be stored, with a unit vector, float32 (D,), and a small JPEG as thumbnail.

    `id` is `point_id(data set, key)`, `payload` the result of `full_payload`, and `digest` that of `digest(payload)`.
    After a change of a payload without a version, `version` is the digest of the original payload.
    """

    id: str
    vector: Vector
    payload: Payload
    version: str
    thumbnail: bytes
    digest: str


class Readable(Protocol):
    """Where stored points are read from, by their positions."""

    def id(self, position: int) -> str:
        """Return the id of the point at `position`."""

    def payload(self, position: int) -> Payload:
        """Return the payload of the point at `position`."""


class _Unread:
    """Where to read the id and the payload of a point from when they are first used (see `stored_hits`)."""

    __slots__ = ("_origin",)

    if not TYPE_CHECKING:  # otherwise, any attribute would be accepted

        def __getattr__(self, name: str) -> Any:
            if name not in ("id", "payload"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            origin = self._origin
            if origin is None:  # another thread has just read the last one
                return object.__getattribute__(self, name)
            readable, position, before = origin
            value = getattr(readable, name)(position)
            _SETTERS[name](self, value)
            both = before not in ("", name)  # then it does not keep the files of an index open
            _set_origin(self, None if both else (readable, position, name))
            return value


@dataclass(frozen=True, slots=True)
class Entry(_Unread):
    """A stored point without its vector."""

    id: str
    payload: Payload = field(hash=False)

    @property
    def key(self) -> str:
        """The image's key in its data set, such as a relative path."""
        return str(self.payload["key"])

    @property
    def label(self) -> str | None:
        """The image's class, if it has one."""
        return self.payload.get(LABEL)


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be stored, and why. `failed_at` is ISO 8601 in UTC, "" for a failure of the current run.

    `version` is the item's at that time, and `sha256` that of its bytes, "" if they could not be read.
    """

    id: str
    key: str
    reason: str
    version: str = ""
    sha256: str = ""
    failed_at: str = ""


@dataclass(frozen=True, slots=True)
class Hit(Entry):
    """A result of a search. `score` is the cosine similarity: at most 1, higher is better."""

    score: float


_hit: Any = Hit
_new = object.__new__
_set_origin, _set_score = _hit._origin.__set__, _hit.score.__set__
_SETTERS = {"id": _hit.id.__set__, "payload": _hit.payload.__set__}


def stored_hits(readable: Readable, scores: Sequence[float], positions: Sequence[int]) -> list[Hit]:
    """Return the hits for some points. An id or payload is read when it is first used.

    To read them would take longer than a search in a small graph, and many hits are not returned to the user.
    """
    hits = []
    for score, origin in zip(scores, zip(repeat(readable), positions, repeat("")), strict=True):
        hit = _new(Hit)  # its own constructor takes twice as long
        _set_origin(hit, origin)
        _set_score(hit, score)
        hits.append(hit)
    return hits


def vector_text(vector: Vector) -> str:
    """Return a vector as little-endian float32 in Base64, as it travels in JSON."""
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def vector_of(text: str) -> Vector:
    """Return the vector (D,), read-only, that `vector_text` made a text of."""
    return np.frombuffer(base64.b64decode(text), "<f4")


def plain_point(point: Point) -> dict[str, Any]:
    """Return a point as it travels in JSON, without its digest, which follows from the payload."""
    return {
        "id": point.id,
        "vector": vector_text(point.vector),
        "payload": point.payload,
        "version": point.version,
        "thumbnail": base64.b64encode(point.thumbnail).decode(),
    }


def point_id(dataset: str, key: str) -> str:
    """Return the id of an image in every store: the UUIDv5 of data set and key, so that a second run upserts."""
    return str(uuid.uuid5(_NAMESPACE, f"{to_plain(dataset)}\n{to_plain(key)}"))


def id_bytes(point_id: str) -> bytes:
    """Return the 16 bytes of a point's id."""
    return bytes.fromhex(point_id.replace("-", ""))


def id_text(data: bytes) -> str:
    """Return the point's id of 16 bytes, whose last ones may be missing if they are zero, as NumPy stores them."""
    return str(uuid.UUID(bytes=data.ljust(16, b"\0")))


def full_payload(item: Item, sha256: str) -> dict[str, Any]:
    """Return the payload to store for `item`, in plain JSON values that every store accepts."""
    payload: dict[str, Any] = {"key": to_plain(item.key), LABEL: to_plain(item.label), "sha256": sha256}
    for name, value in (item.payload or {}).items():
        payload[f"{name}_" if name in RESERVED else name] = to_plain(value)
    return payload


def with_changes(point: Point, changes: Payload) -> Point:
    """Return the point with payload fields set, or removed where the new value is None.

    Its version still identifies what the source had, so that the next ingest does not undo the change.
    """
    payload = {
        name: value for name, value in {**point.payload, **changes}.items() if name not in changes or value is not None
    }
    return replace(point, payload=payload, version=point.version or point.digest, digest=digest(payload))


def to_plain(value: Any) -> Any:
    """Return `value` as plain JSON: NaN becomes None, dates and integers over 64 bits text; surrogates are escaped."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(name): to_plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else to_plain(str(value))


def without_fraction(value: Any) -> Any:
    """Return plain JSON with floats that are whole numbers as integers, so that each number has one spelling."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        return {name: without_fraction(inner) for name, inner in value.items()}
    return [without_fraction(inner) for inner in value] if isinstance(value, list) else value


def digest(payload: Payload) -> str:
    """Return the SHA-256 of a payload. It changes with any field, and with the image, whose SHA-256 is a field.

    It does not depend on the order of the fields, nor on the spelling of numbers: a server may change both.
    """
    return hashlib.sha256(_CANONICAL.encode(without_fraction(payload)).encode()).hexdigest()


def old_digest(payload: Payload) -> str:
    """Return the digest as older versions stored it, of a payload in the order of its source."""
    return hashlib.sha256(to_json(payload).encode()).hexdigest()


def to_json(payload: Payload) -> str:
    """Return the payload as compact JSON text."""
    return _ENCODER.encode(payload)

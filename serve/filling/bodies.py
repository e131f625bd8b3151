"""The bodies of the requests with which clients fill a collection with vectors of their own."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from cbir.index.generation import Plan
from cbir.models.card import ModelRef
from cbir.records import Point, digest, to_plain

from ..bodies import LONGEST, Body, Name, Payload, ThumbnailField, VectorField
from .opened import Filling

_CHECKSUM = re.compile("[0-9a-f]{64}")
_NAME = re.compile(r"[^/\\\x00-\x1f\ud800-\udfff]{1,200}")
_MOST_DIMENSIONS = 65_536


def _identifying(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload, or raise `ValueError` if it does not identify the image."""
    if not all(isinstance(payload.get(name), str) for name in ("key", "sha256")):
        raise ValueError("the payload needs the texts `key` and `sha256`")
    return payload


def _named(model: ModelRef) -> ModelRef:
    """Return what identifies a model, or raise `ValueError` if it might name a file elsewhere."""
    if not _CHECKSUM.fullmatch(model.sha256):
        raise ValueError("sha256 must be 64 hexadecimal digits")
    if not _NAME.fullmatch(model.name):
        raise ValueError("the name must have 1 to 200 characters, no slashes and no control characters")
    if not 1 <= model.dimension <= _MOST_DIMENSIONS:
        raise ValueError(f"dimension must be from 1 to {_MOST_DIMENSIONS:,}")
    return model


class FillingBody(Body):
    """What is filled: the data set, its source and the model that makes the vectors."""

    dataset: Name
    source: Annotated[str, Field(max_length=LONGEST)]
    model: Annotated[ModelRef, AfterValidator(_named)]
    same_source: bool = Field(default=False, description="True: the data set may come from a source of another name.")

    def filling(self, collection: str) -> Filling:
        """Return what the collection of this name is to hold."""
        return Filling(Plan(collection, self.dataset, self.source, self.model, None), self.same_source)


class SpaceBody(FillingBody):
    """How many new points are to come."""

    fresh: int = Field(ge=0)


class NewPoint(Body):
    """A point: its vector, payload and thumbnail. `version` identifies the file of the image."""

    id: Name
    vector: VectorField
    payload: Annotated[Payload, AfterValidator(_identifying)]
    version: str = ""
    thumbnail: ThumbnailField = Field(default=b"", description="A JPEG in Base64.")

    def point(self) -> Point:
        """Return it as stores take it."""
        payload = to_plain(self.payload)
        return Point(self.id, self.vector, payload, self.version, self.thumbnail, digest(payload))


class WriteBody(FillingBody):
    """Points to store."""

    points: list[NewPoint] = Field(min_length=1)


class PointIdsBody(FillingBody):
    """Which points are meant."""

    ids: list[Name]


class ChangeBody(PointIdsBody):
    """Payload fields to set; null removes a field."""

    changes: Annotated[Payload, Field(min_length=1)]


class PublishBody(FillingBody):
    """How to publish. The same `attempt` asks whether it is done."""

    attempt: Name
    more: bool = Field(default=False, description="True: more points are to come.")

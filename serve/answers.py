"""What the answers hold, for the OpenAPI document. The routes write them as plain values, which is faster."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class HitAnswer(BaseModel):
    """One result of a search."""

    id: str
    score: float = Field(description="The cosine similarity to the query: at most 1, higher is better.")
    payload: dict[str, Any] = Field(default={}, description="Its key, label, SHA-256 and the fields of the source.")
    vector: list[float] = Field(default=[], description="Its vector, if `with_vector` is true.")


class GroupAnswer(BaseModel):
    """The best hits with the same value of a payload field."""

    value: str | int | float | bool | None
    ids: list[str]


class SearchAnswer(BaseModel):
    """The hits of a search, best first."""

    hits: list[HitAnswer]
    groups: list[GroupAnswer] = Field(default=[], description="The same hits by the value of `group_by`.")
    milliseconds: dict[str, float] = Field(description="The time of each stage of the search.")


class BatchAnswer(BaseModel):
    """The hits of several searches, in their order."""

    results: list[SearchAnswer]


class ModelAnswer(BaseModel):
    """The model that made a collection's vectors."""

    name: str
    sha256: str
    dimension: int
    preprocessing: int
    random_weights: bool
    precision: str
    libraries: str


class CollectionAnswer(BaseModel):
    """One collection of the store."""

    collection: str
    alias: str
    model: str
    points: int | None
    condition: Literal["ready", "indexing", "unfinished", "damaged"]
    run: Literal["", "running", "interrupted"]
    made_by: ModelAnswer | None = Field(description="The model; null if it cannot be read.")
    dataset: str
    created: str
    generation: str
    commit: int


class CollectionsAnswer(BaseModel):
    """The collections of the store; the one published last is first."""

    collections: list[CollectionAnswer]


class InfoAnswer(BaseModel):
    """Facts about an open collection."""

    collection: str
    dataset: str
    model: ModelAnswer
    count: int
    indexed: int
    access: str
    filtering: str
    generation: str
    commit: int
    tail: int
    dead: int
    segments: int
    bytes: int
    options: dict[str, str]
    source: str = Field(default="", description="Where its images come from; only for a write key.")


class FieldsAnswer(BaseModel):
    """The payload fields that a filter can use, with their kinds."""

    fields: dict[str, Literal["text", "number", "truth"]]


class FacetValue(BaseModel):
    """A value of a field, and how many images have it."""

    value: str | int | float | bool
    count: int


class FacetAnswer(BaseModel):
    """The values of a payload field, the most frequent first."""

    values: list[FacetValue]


class CountAnswer(BaseModel):
    """A number of images."""

    count: int


class PointAnswer(BaseModel):
    """A stored image."""

    id: str
    payload: dict[str, Any]
    vector: list[float] = []


class ReadPoint(BaseModel):
    """The requested parts of a stored image."""

    id: str
    payload: dict[str, Any] = {}
    vector: str = Field(default="", description="Little-endian float32 in Base64.")
    thumbnail: str = Field(default="", description="A JPEG in Base64, empty if there is none.")
    version: str = Field(default="", description="Changes with the image's file, or is empty.")


class ReadAnswer(BaseModel):
    """Stored images in the order of the ids, null for an id that is not stored."""

    points: list[ReadPoint | None]


class SampleAnswer(BaseModel):
    """Ids of random images."""

    ids: list[str]


class PointsAnswer(BaseModel):
    """Stored images in the order of ids."""

    points: list[PointAnswer]
    next: str | None = Field(description="Give it as `after` to get the next images; null at the end.")


class Skipped(BaseModel):
    """An image that was not stored, and why."""

    key: str
    reason: str


class AddAnswer(BaseModel):
    """What became of the images. Those that were stored survive a power cut, and every search finds them."""

    collection: str
    stored: int
    unchanged: int
    skipped: int
    failures: list[Skipped]
    ids: dict[str, str] = Field(description="The id of each stored image by its key.")


class ChangedAnswer(BaseModel):
    """How many images were changed or deleted."""

    changed: int


class FillingAnswer(BaseModel):
    """The state of a collection that is filled, as `CollectionWriter` has it."""

    resumed: int = Field(description="How many points an unfinished run stored.")
    needs_publishing: bool
    state: str | None


class Refused(Skipped):
    """A point that the store refused, and why."""

    id: str
    version: str
    sha256: str
    failed_at: str


class FailuresAnswer(BaseModel):
    """The points that the store refused."""

    failures: list[Refused]


class StoredPoint(ReadPoint):
    """A stored point with all of its parts."""

    digest: str


class StoredPointsAnswer(BaseModel):
    """Those of the points that are stored, in any order."""

    points: list[StoredPoint]


class PublishedAnswer(BaseModel):
    """Whether searches find what was stored."""

    published: bool


class ModelFileAnswer(BaseModel):
    """Whether the server has all of a file."""

    complete: bool


class Embedding(BaseModel):
    """One vector: a list of numbers, or little-endian float32 in Base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """The number of tokens, which is always 0 here: nobody is charged."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class EmbedAnswer(BaseModel):
    """Vectors in the order of the inputs, in the form of OpenAI's embeddings API."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class Problem(BaseModel):
    """An error: what happened, and how to fix it (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[dict[str, str]] = []

"""What the bodies of requests hold. The fields of a search are named as the options of `Collection.search`."""

import base64
import binascii
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from cbir.filters.conditions import Filter
from cbir.filters.plain import filter_of
from cbir.records import Vector

_DATA_URL = "data:image/"
_MOST_EXAMPLES = 100
LONGEST = 4096
_DEEPEST = 16


def _to_vector(value: object) -> Vector:
    """Return a vector (D,), float32, of a list of numbers, or of little-endian float32 in Base64.

    Pydantic's own check of 1,280 numbers takes longer than the search.
    """
    if isinstance(value, str):
        data = _to_bytes(value)
        if len(data) % 4:
            raise ValueError("the vector must be float32 in Base64: four bytes for each dimension")
        return np.frombuffer(data, "<f4")
    try:
        with np.errstate(over="ignore"):  # infinity is refused later
            array = np.asarray(value if isinstance(value, list) else [])
            if array.ndim == 1 and array.size and array.dtype.kind in "fiu":
                return array.astype(np.float32)
    except ValueError:  # lists of different lengths
        pass
    raise ValueError("the vector must be a list of numbers, or float32 in Base64")


def _to_bytes(value: object) -> bytes:
    """Return the bytes of Base64, or of a `data:image/...;base64,` URL. A part of a form has bytes already."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("the image must be a text: the file in Base64")
    text = value.partition(",")[2] if value.startswith(_DATA_URL) else value
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("no valid Base64") from None
    return data


def _to_file(value: object) -> bytes:
    """Return the bytes of an image file."""
    data = _to_bytes(value)
    if not data and isinstance(value, str):
        raise ValueError("empty")
    return data


def _flat(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload, or raise `ValueError` if it is nested so deeply that storing it would fail."""
    inner: list[Any] = [payload]
    for _ in range(_DEEPEST):
        inner = [
            value
            for outer in inner
            if isinstance(outer, dict | list)
            for value in (outer.values() if isinstance(outer, dict) else outer)
        ]
    if inner:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    return payload


def to_filter(value: object) -> str | Filter:
    """Return a filter that is a text, or the parsed one of a list of conditions, which may be JSON in a text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = orjson.loads(value)
    if isinstance(value, list):
        return filter_of(value)
    if not isinstance(value, str):
        raise ValueError("a filter is a text such as 'label=Shoes', or a list of conditions")
    if len(value) > LONGEST:
        raise ValueError(f"a filter has at most {LONGEST:,} characters")
    return value


_BASE64 = {"type": "string", "contentEncoding": "base64"}
_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 1}
VectorField = Annotated[Any, PlainValidator(_to_vector), WithJsonSchema({"anyOf": [_NUMBERS, _BASE64]})]
ImageField = Annotated[Any, PlainValidator(_to_file), WithJsonSchema(_BASE64)]
ThumbnailField = Annotated[Any, PlainValidator(_to_bytes), WithJsonSchema(_BASE64)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Input = Annotated[str, Field(min_length=1)]
_CONDITIONS = {"type": "array", "items": {"type": "object", "required": ["field"]}}
Payload = Annotated[dict[str, Any], AfterValidator(_flat)]
FilterField = Annotated[Any, PlainValidator(to_filter), WithJsonSchema({"anyOf": [{"type": "string"}, _CONDITIONS]})]


class Body(BaseModel):
    """A body. A field that it does not have is an error, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Example(Body):
    """An example of what hits should resemble, or should not: exactly one of its kinds, and its weight."""

    id: Name | None = Field(default=None, description="Id or key of a stored image.")
    url: Name | None = Field(default=None, description="http or https URL of an image, which the server fetches.")
    text: Name | None = Field(default=None, description="What to look for, in words.")
    image: ImageField | None = Field(default=None, description="An image file in Base64, or as a data URL.")
    vector: VectorField | None = Field(default=None, description="A vector of the collection's model.")
    weight: float = Field(default=1.0, gt=0, le=1e6)

    @model_validator(mode="after")
    def _one_kind(self) -> "Example":
        if sum(value is not None for value in (self.id, self.url, self.text, self.image, self.vector)) != 1:
            raise ValueError("give exactly one of id, url, text, image and vector")
        return self


Texts = Name | Annotated[list[Name], Field(max_length=_MOST_EXAMPLES)]
Ids = Annotated[list[Name], Field(max_length=_MOST_EXAMPLES)]
Examples = Annotated[list[Name | Example], Field(max_length=_MOST_EXAMPLES)]


class SearchBody(Body):
    """A search: at least one example of what hits should resemble, and the options of `Collection.search`."""

    text: Texts = Field(default=[], description="What hits should show, in words.")
    url: Name | None = Field(default=None, description="http or https URL of an image, which the server fetches.")
    image: ImageField | None = Field(default=None, description="An image file in Base64, or as a data URL.")
    ids: Ids = Field(default=[], description="Ids or keys of stored images.")
    vector: VectorField | None = Field(default=None, description="A vector of the collection's model.")
    like: Examples = Field(default=[], description="More examples, which may have weights. A text is an id or a key.")
    unlike: Examples = Field(default=[], description="Examples that hits should not resemble.")
    unlike_text: Texts = Field(default=[], description="What hits should not show, in words.")
    limit: int = Field(default=10, ge=1, le=1000, description="Maximum number of hits, or of groups.")
    offset: int = Field(default=0, ge=0, le=10_000, description="Number of best hits, or groups, to skip.")
    filter: FilterField | None = Field(default=None, description="Such as `label=Shoes|Boots and year>=2015`.")
    min_score: float | None = Field(default=None, allow_inf_nan=False, description="Minimum score of a hit.")
    expand: int = Field(default=0, ge=0, le=100, description="Search again with the mean of so many hits, too.")
    diversity: float = Field(
        default=0.0, ge=0, le=1, description="Above 0, hits that differ are preferred; not with groups."
    )
    group_by: Name | None = Field(default=None, description="Payload field to group the hits by.")
    group_size: int = Field(default=3, ge=1, le=100, description="Maximum number of hits in a group.")
    exact: bool = Field(default=False, description="Compare with every vector instead of using the graph.")
    ef: int | None = Field(default=None, ge=1, le=10_000, description="Number of candidates of a graph search.")
    nprobe: int | None = Field(default=None, ge=1, le=10_000, description="Number of inverted lists to search.")
    with_payload: bool = Field(default=True, description="False: hits have no payload.")
    with_vector: bool = Field(default=False, description="True: hits have their vectors.")

    @cached_property
    def positives(self) -> list[Example]:
        """The examples that hits should resemble."""
        single = {name: getattr(self, name) for name in ("image", "url", "vector")}
        return [
            *(Example.model_construct(**{name: value}) for name, value in single.items() if value is not None),
            *_texts(self.text),
            *_examples([*self.ids, *self.like]),
        ]

    @cached_property
    def negatives(self) -> list[Example]:
        """The examples that hits should not resemble."""
        return [*_texts(self.unlike_text), *_examples(self.unlike)]


class BatchBody(Body):
    """Several searches, which are answered in their order."""

    queries: list[SearchBody] = Field(min_length=1)


class NewImage(Body):
    """An image to add: its file or its URL."""

    image: ImageField | None = Field(default=None, description="An image file in Base64, or as a data URL.")
    url: Name | None = Field(default=None, description="http or https URL of an image, which the server fetches.")
    key: Name | None = Field(
        default=None, description="Its unique name; by default its URL, or the SHA-256 of the file."
    )
    payload: Payload = Field(default={}, description="Fields to store with it; `label` is its class.")

    @model_validator(mode="after")
    def _one_kind(self) -> "NewImage":
        if (self.image is None) == (self.url is None):
            raise ValueError("give either image or url")
        return self


class AddBody(Body):
    """Images to add. An image whose key is stored already replaces it."""

    images: list[NewImage] = Field(min_length=1)
    create: bool = Field(default=False, description="True: create the collection if there is none of this name.")


class ReadBody(Body):
    """Which stored images to read, and what of them."""

    ids: list[Name] = Field(description="Ids of images.")
    with_payload: bool = True
    with_vector: bool = False
    with_thumbnail: bool = False
    with_version: bool = False


class AddForm(Body):
    """Images to add, as a form: a file for each, and as many keys and payloads, or none."""

    image: list[ImageField] = Field(min_length=1)
    key: list[Name] = []
    payload: list[str] = Field(default=[], description="A JSON object for each image; `label` is its class.")
    create: bool = Field(default=False, description="True: create the collection if there is none of this name.")


class ChooseBody(Body):
    """Which images are meant: those with an id or key, and those that match a filter."""

    ids: list[Name] = Field(default=[], description="Ids or keys of images.")
    filter: FilterField | None = Field(default=None, description="Such as `label=Shoes|Boots and year>=2015`.")


class UpdateBody(ChooseBody):
    """Payload fields to set; null removes a field."""

    changes: Annotated[Payload, Field(min_length=1)]


class EmbedInput(Body):
    """An image to embed: its file or its URL."""

    image: ImageField | None = Field(default=None, description="An image file in Base64, or as a data URL.")
    url: Name | None = Field(default=None, description="http or https URL of an image, which the server fetches.")


class EmbedBody(BaseModel):
    """Texts and images to embed, in the form of OpenAI's embeddings API."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # clients send fields that mean nothing here, such as `user`

    input: Input | list[Input | EmbedInput] = Field(description="Texts; an image is an object, or a data URL.")
    model: Name | None = Field(
        default=None, description="Name of a collection or of a model; by default that of the first."
    )
    encoding_format: Literal["float", "base64"] = Field(default="float", description="base64 is that of float32.")
    dimensions: int | None = Field(default=None, description="Must be that of the model: vectors are not shortened.")

    def examples(self) -> Iterator[Example]:
        """Yield what to embed."""
        for value in [self.input] if isinstance(self.input, str) else self.input:
            if isinstance(value, EmbedInput):
                yield Example(image=value.image, url=value.url)
            elif value.startswith(_DATA_URL):
                yield Example(image=value)
            else:
                yield Example.model_construct(text=value)


def _texts(texts: str | list[str]) -> Iterator[Example]:
    listed = [texts] if isinstance(texts, str) else texts
    return (Example.model_construct(text=text) for text in listed)


def _examples(values: list[str | Example]) -> Iterator[Example]:
    for value in values:
        yield value if isinstance(value, Example) else Example.model_construct(id=value)

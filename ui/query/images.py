"""The images of a query: uploaded, fetched or stored, and made ready to be searched with in one collection.

A search is shared by its address, and an address cannot hold an image. So it holds the name of an uploaded image in
the upload cache, which nobody can guess. The images used last stay in memory; none is ever written to a disk.
"""

import hashlib
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import streamlit as st

from cbir.collection import Collection
from cbir.errors import CbirError, ImageError
from cbir.images.crop import Crop
from cbir.images.decode import decode, thumbnail
from cbir.records import Payload, Vector
from cbir.results import Hits
from cbir.search.examples import Clock
from cbir.sources.remote import Limits, fetch

from ..components.gallery import heading, subheading
from ..components.problems import sentence
from . import state
from .choice import Chosen

MAX_BYTES = 10 * 2**20
FETCH_SECONDS = 10.0
PREVIEW_SIDE = 480
_ROOM = 128 * 2**20
_PRIVATE = re.compile(r"the private address \S+; see \S+")  # its number is nothing for a visitor
_URL = re.compile(r"https?://", re.IGNORECASE)
_Embedded = tuple[Vector, bytes, bytes, dict[str, float]]
"""A vector, a thumbnail, a preview, and the milliseconds that each stage took."""


@dataclass(frozen=True)
class UploadedImage:
    """The file of an image that a visitor uploaded, or whose URL they gave."""

    name: str
    data: bytes

    @cached_property
    def sha256(self) -> str:
        """The content's SHA-256, as the payload of a stored copy has it."""
        return hashlib.sha256(self.data).hexdigest()


class UploadCache:
    """The uploaded images that were used last, in at most `room` bytes. Safe to share between threads."""

    def __init__(self, room: int = _ROOM):
        self._room = room
        self._lock = threading.Lock()
        self._images: OrderedDict[str, UploadedImage] = OrderedDict()

    def put(self, image: UploadedImage, name: str = "") -> str:
        """Keep an image and return its name, one that cannot be guessed if none is given."""
        name = name or secrets.token_urlsafe(16)
        with self._lock:
            self._images[name] = image
            self._images.move_to_end(name)
            while len(self._images) > 1 and sum(len(kept.data) for kept in self._images.values()) > self._room:
                self._images.popitem(last=False)
        return name

    def get(self, name: str) -> UploadedImage | None:
        """Return the image of that name, None if it had to make room."""
        with self._lock:
            if name in self._images:
                self._images.move_to_end(name)
            return self._images.get(name)


upload_cache = UploadCache()


@dataclass(frozen=True)
class ReadyExample:
    """An example of the query, ready to be shown and to be searched with in one collection.

    Attributes:
        sign: Whether hits are to be like it, or unlike.
        example: It.
        title: What to call it.
        line: What else there is to say of it.
        picture: Its thumbnail, None if there is none.
        large: All of it, larger, to choose a part of.
        vector: Its vector, or the id of a stored image.
        sha256: Of its file, "" for a part of an image.
        milliseconds: What each stage of embedding took.
    """

    sign: state.Sign
    example: state.Example
    title: str
    line: str
    picture: bytes | None
    large: bytes | None
    vector: str | Vector
    sha256: str = ""
    milliseconds: dict[str, float] = field(default_factory=dict)


def upload(files: Sequence[tuple[str, bytes]], collection: Collection) -> None:
    """Make uploaded images, (name, file), the query; those that cannot be used become problems."""
    refs = []
    state.clear_problems()
    for name, data in files:
        image = UploadedImage(name, data)
        try:
            if len(data) > MAX_BYTES:
                raise ImageError(f"larger than {MAX_BYTES >> 20} MB")
            embedded(image.sha256, data, collection)
            refs.append(upload_cache.put(image))
        except ImageError as error:
            state.add_problem(f"{name} cannot be used: {error}.")
        except CbirError as error:
            state.add_problem(sentence(error))
    if len(refs) > state.MAX_EXAMPLES:
        state.add_problem(f"Only the last {state.MAX_EXAMPLES} pictures are asked with.")
    _search_with(refs)


def upload_url(url: str) -> None:
    """Make the image behind a URL the query; it is fetched when it is searched with."""
    url = url.strip()
    state.clear_problems()
    if _URL.match(url):
        _search_with([url])
    elif url:
        state.add_problem("That is not the address of a picture: it has to begin with http:// or https://.")


def _search_with(refs: Sequence[str]) -> None:
    before = state.current() if st.session_state.get("adding") else state.Query()
    if refs:
        problems = state.problems()
        state.search(before.with_examples("like", [*before.like, *map(state.Example, refs)]))
        st.session_state["problems"] = problems


def uploaded(ref: str, collection: Collection) -> UploadedImage:
    """Return an uploaded image, by its name in the cache or its URL, which may be fetched again.

    Raises:
        ImageError: It is gone, or cannot be fetched or used; the message is a sentence.
    """
    found = upload_cache.get(ref)
    if found is not None:
        return found
    if not _URL.match(ref):
        raise ImageError("A picture of this search was kept for a while only and is gone; bring it again.")
    limits = Limits(MAX_BYTES, FETCH_SECONDS, private=collection.settings.allow_private_addresses)
    name = ref.partition("?")[0].rstrip("/").rpartition("/")[2] or "The picture"
    try:
        image = UploadedImage(name, fetch(ref, limits))
        embedded(image.sha256, image.data, collection)
    except ImageError as error:
        reason = _PRIVATE.sub("a private network", str(error))
        raise ImageError(f"The picture of that address cannot be used: {reason}.") from None
    upload_cache.put(image, ref)
    return image


def embedded(sha256: str, data: bytes, collection: Collection, crop: Crop | None = None) -> _Embedded:
    """Return what one decoding of an image gives: its vector, a thumbnail, a preview and the time of each stage.

    Raises:
        ImageError: It cannot be used.
        CbirError: The collection cannot be opened.
    """
    return _embedded(sha256, crop, collection.embedder.sha256, data, collection)


@st.cache_data(max_entries=256, show_spinner=False)
def _embedded(sha256: str, crop: Crop | None, model: str, _data: bytes, _collection: Collection) -> _Embedded:
    clock = Clock()
    with clock.stage("decode"):  # for a part at full size: what is left may be small
        shortest = _collection.embedder.shortest if crop is None else None
        image = decode(_data, shortest, _collection.settings.max_image_megapixels)
        if crop is not None:
            image = crop.of(image)
    vector = _collection.embed(image, clock=clock)
    return vector, thumbnail(image), thumbnail(image, side=PREVIEW_SIDE), clock.milliseconds


def make_ready(query: state.Query, chosen: Chosen) -> tuple[list[ReadyExample], list[str]]:
    """Return the examples of a query, and why some of them cannot be used in this collection.

    Raises:
        CbirError: The store failed.
    """
    store, examples = chosen.store, query.examples
    ids = [example.ref for _, example in examples if example.stored]
    stored = dict(zip(ids, zip(store.payloads(ids), store.thumbnails(ids), strict=True), strict=True))
    ready: list[ReadyExample] = []
    problems: list[str] = []
    for sign, example in examples:
        try:
            if example.stored:
                payload, picture = stored[example.ref]
                if payload is None:
                    raise ImageError("That picture is not in this collection; choose another.")
                ready.append(_stored(sign, example, payload, picture, chosen.collection))
            else:
                ready.append(_uploaded(sign, example, chosen.collection))
        except ImageError as error:
            problems.append(str(error))
    return ready, list(dict.fromkeys(problems))


def vectors(examples: Sequence[ReadyExample], sign: state.Sign) -> list[str | Vector]:
    """Return what hits are to be like, or unlike: vectors, and ids of stored images."""
    return [example.vector for example in examples if example.sign == sign]


def with_times(hits: Hits, examples: Sequence[ReadyExample]) -> Hits:
    """Return the hits of a search with the time that its examples took."""
    stages = dict.fromkeys(stage for example in examples for stage in example.milliseconds)
    spent = {stage: sum(example.milliseconds.get(stage, 0.0) for example in examples) for stage in stages}
    return Hits(hits, hits.groups, spent | hits.milliseconds)


def _stored(
    sign: state.Sign, example: state.Example, payload: Payload, picture: bytes | None, collection: Collection
) -> ReadyExample:
    name = heading(payload)
    if example.crop is None:
        line, sha256 = subheading(payload), str(payload.get("sha256"))
        return ReadyExample(sign, example, name, line, picture, picture, example.ref, sha256)
    if picture is None:
        raise ImageError(f"There is no picture of {name} to take a part of.")
    digest = hashlib.sha256(picture).hexdigest()
    vector, part, _, spent = embedded(digest, picture, collection, example.crop)
    return ReadyExample(sign, example, name, "A part of its thumbnail", part, picture, vector, milliseconds=spent)


def _uploaded(sign: state.Sign, example: state.Example, collection: Collection) -> ReadyExample:
    image = uploaded(example.ref, collection)
    vector, picture, large, spent = embedded(image.sha256, image.data, collection)
    if example.crop is None:
        return ReadyExample(sign, example, image.name, "Your picture", picture, large, vector, image.sha256, spent)
    vector, part, _, spent = embedded(image.sha256, image.data, collection, example.crop)
    return ReadyExample(sign, example, image.name, "A part of your picture", part, large, vector, milliseconds=spent)

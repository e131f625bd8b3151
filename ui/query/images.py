"""The examples of a query: images uploaded, fetched or stored, and texts, embedded for the search in one collection.

An address cannot hold an image. It holds the name of an uploaded image in the upload cache, which nobody can guess.
The cache is in memory; no image is ever written to a disk.
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
from cbir.errors import CbirError, ImageError, UsageError
from cbir.images.crop import Crop
from cbir.images.decode import decode, thumbnail
from cbir.records import Payload, Vector
from cbir.results import Hits
from cbir.search.examples import Clock, embed_text
from cbir.search.score_calibration import ScoreCalibration
from cbir.sources.remote import Limits, fetch

from ..components.gallery import heading, subheading
from ..components.problems import sentence
from . import choice, state
from .choice import Chosen

MAX_BYTES = 10 * 2**20
FETCH_SECONDS = 10.0
PREVIEW_SIDE = 480
_CACHE_BYTES = 128 * 2**20
_PRIVATE = re.compile(r"the private address \S+, which needs \w+")  # a visitor does not need its number
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
        """The SHA-256 of the file, as in the payload of a stored copy."""
        return hashlib.sha256(self.data).hexdigest()


class UploadCache:
    """The most recently used uploads, in at most `max_bytes`. Safe to share between threads."""

    def __init__(self, max_bytes: int = _CACHE_BYTES):
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._images: OrderedDict[str, UploadedImage] = OrderedDict()

    def put(self, image: UploadedImage, name: str = "") -> str:
        """Add an image and return its name; without a name it gets a random one."""
        name = name or secrets.token_urlsafe(16)
        with self._lock:
            self._images[name] = image
            self._images.move_to_end(name)
            while len(self._images) > 1 and sum(len(kept.data) for kept in self._images.values()) > self._max_bytes:
                self._images.popitem(last=False)
        return name

    def get(self, name: str) -> UploadedImage | None:
        """Return the image of that name, None if it has been dropped."""
        with self._lock:
            if name in self._images:
                self._images.move_to_end(name)
            return self._images.get(name)


upload_cache = UploadCache()


@dataclass(frozen=True)
class ReadyExample:
    """An example of the query, ready to be shown and searched with in one collection. A text has no image.

    `image` is a thumbnail and `preview` a larger one to crop. `vector` is the id of an uncropped stored image. `sha256`
    is that of the file, "" for a part of an image. `milliseconds` are those of each stage of embedding.
    """

    example: state.Example
    title: str
    line: str
    image: bytes | None
    preview: bytes | None
    vector: str | Vector
    sha256: str = ""
    milliseconds: dict[str, float] = field(default_factory=dict)


def upload(files: Sequence[tuple[str, bytes]], collection: Collection) -> None:
    """Search for uploaded images, (name, file); the unusable ones become problems."""
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
            state.problems().append(f"{name} cannot be used: {error}.")
        except CbirError as error:
            state.problems().append(sentence(error))
    if len(refs) > state.MAX_EXAMPLES:
        state.problems().append(f"A query has at most {state.MAX_EXAMPLES} images; the last ones are used.")
    _search_with(refs)


def upload_url(url: str) -> None:
    """Search for the image at a URL; it is fetched when it is searched with."""
    url = url.strip()
    state.clear_problems()
    if _URL.match(url):
        _search_with([url])
    elif url:
        state.problems().append("This is not an image URL. Enter one that begins with http:// or https://.")


def _search_with(refs: Sequence[str]) -> None:
    if refs:
        before = state.current() if st.session_state.get("adding") else ()
        problems = state.problems()
        state.search(state.to_query([*before, *map(state.Example, refs)]))
        st.session_state["problems"] = problems


def uploaded(ref: str, collection: Collection) -> UploadedImage:
    """Return an uploaded image by its name in the cache or its URL; the message of an `ImageError` is a sentence."""
    cached = upload_cache.get(ref)
    if cached is not None:
        return cached
    if not _URL.match(ref):
        raise ImageError("An uploaded image of this search is no longer kept. Upload it again.")
    limits = Limits(MAX_BYTES, FETCH_SECONDS, private=collection.settings.allow_private_addresses)
    name = ref.partition("?")[0].rstrip("/").rpartition("/")[2] or "Image"
    try:
        image = UploadedImage(name, fetch(ref, limits))
        embedded(image.sha256, image.data, collection)
    except ImageError as error:
        reason = _PRIVATE.sub("a private network", str(error))
        raise ImageError(f"The image at this URL cannot be used: {reason}.") from None
    upload_cache.put(image, ref)
    return image


@st.cache_data(max_entries=256, show_spinner=False, hash_funcs={Collection: lambda opened: opened.embedder.sha256})
def embedded(sha256: str, _data: bytes, collection: Collection, crop: Crop | None = None) -> _Embedded:
    """Return the vector, thumbnail, preview and times of an image, from one decoding."""
    clock = Clock()
    with clock.stage("decode"):  # a part is cut at full size: it may be small
        shortest = collection.embedder.shortest if crop is None else None
        image = decode(_data, shortest, collection.settings.max_image_megapixels)
        if crop is not None:
            image = crop.of(image)
    vector = collection.embed(image, clock=clock)
    return vector, thumbnail(image), thumbnail(image, side=PREVIEW_SIDE), clock.milliseconds


@st.cache_data(max_entries=256, show_spinner=False, hash_funcs={Collection: lambda opened: opened.embedder.sha256})
def embedded_text(text: str, collection: Collection) -> tuple[Vector, dict[str, float]]:
    """Return the vector of a text, and the milliseconds of each stage."""
    embedder, clock = collection.embedder, Clock()
    return embed_text([text], embedder, clock)[0], clock.milliseconds


def make_ready(query: state.Query, chosen: Chosen) -> tuple[list[ReadyExample], list[str]]:
    """Return the examples of a query, and why some of them cannot be used in this collection."""
    store = chosen.store
    ids = [example.ref for example in query if example.stored]
    stored = dict(zip(ids, zip(store.payloads(ids), store.thumbnails(ids), strict=True), strict=True))
    ready: list[ReadyExample] = []
    problems: list[str] = []
    for example in query:
        try:
            if example.words:
                ready.append(_text(example, chosen.collection))
            elif example.stored:
                ready.append(_stored(example, *stored[example.ref], chosen.collection))
            else:
                ready.append(_uploaded(example, chosen.collection))
        except ImageError as error:
            problems.append(str(error))
        except UsageError as error:
            problems.append(sentence(error))
    return ready, list(dict.fromkeys(problems))


def vectors(examples: Sequence[ReadyExample], sign: state.Sign) -> list[str | Vector]:
    """Return the vectors of the examples of one sign, and ids of stored images."""
    return [ready.vector for ready in examples if ready.example.sign == sign]


def calibration(chosen: Chosen, examples: Sequence[ReadyExample]) -> ScoreCalibration:
    """Return the meaning of the scores of a query: that of texts if hits should be like texts only."""
    positives = [ready.example for ready in examples if ready.example.sign == "like"]
    only_texts = bool(positives) and all(example.words for example in positives)
    return choice.text_calibration(chosen) if only_texts else choice.score_calibration(chosen)


def with_times(hits: Hits, examples: Sequence[ReadyExample]) -> Hits:
    """Return the hits of a search, with the time of embedding its examples."""
    stages = dict.fromkeys(stage for example in examples for stage in example.milliseconds)
    spent = {stage: sum(example.milliseconds.get(stage, 0.0) for example in examples) for stage in stages}
    return Hits(hits, hits.groups, spent | hits.milliseconds)


def _text(example: state.Example, collection: Collection) -> ReadyExample:
    vector, spent = embedded_text(example.ref, collection)
    return ReadyExample(example, example.ref, "Text", None, None, vector, milliseconds=spent)


def _stored(
    example: state.Example, payload: Payload | None, image: bytes | None, collection: Collection
) -> ReadyExample:
    if payload is None:
        raise ImageError("This image is not in this collection. Choose another.")
    name = heading(payload)
    if example.crop is None:
        sha256 = str(payload.get("sha256"))
        return ReadyExample(example, name, subheading(payload), image, image, example.ref, sha256)
    if image is None:
        raise ImageError(f"{name} has no thumbnail to crop.")
    digest = hashlib.sha256(image).hexdigest()
    vector, part, _, spent = embedded(digest, image, collection, example.crop)
    return ReadyExample(example, name, "A part of its thumbnail", part, image, vector, milliseconds=spent)


def _uploaded(example: state.Example, collection: Collection) -> ReadyExample:
    image = uploaded(example.ref, collection)
    vector, small, preview, spent = embedded(image.sha256, image.data, collection)
    if example.crop is None:
        return ReadyExample(example, image.name, "Uploaded image", small, preview, vector, image.sha256, spent)
    vector, part, _, spent = embedded(image.sha256, image.data, collection, example.crop)
    return ReadyExample(example, image.name, "A part of the uploaded image", part, preview, vector, milliseconds=spent)

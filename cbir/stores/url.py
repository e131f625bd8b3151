"""Parses store URLs. Nothing else does.

    edge:PATH?m=16&ef_construct=100&ef=128       the Qdrant engine in this process
         datatype=float16|float32, quantization=scalar|product|binary|turbo, oversampling=2, rescore=1, on_disk=0,
         index_field=year,price
    faiss:PATH?index=HNSW16_SQfp16&ef=128&nprobe=16     a FAISS index (any factory string); oversampling=4 with RFlat
    http://HOST:6333?grpc=6334, https://HOST:6333    a Qdrant server or cluster
    cbir+http://HOST:8000/COLLECTION, cbir+https://...    a cbir-serve

A PATH is an index folder. A path directly inside an index folder names one of its indexes: `edge:./index` and
`faiss:./index/faiss` are in one folder, are built from one vector log and are published together.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from cbir.errors import UsageError
from cbir.index import layout
from cbir.index.names import MARKER
from cbir.stores.engines import ENGINES
from cbir.text import redacted

DEFAULT_ENGINE = "edge"
SERVER_SCHEMES = ("http", "https")
API_SCHEMES = ("cbir+http", "cbir+https")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_INDEX_FIELD = "index_field"
_CHOICES = {
    "quantization": ("none", "scalar", "product", "binary", "turbo"),
    "datatype": ("float16", "float32"),
    "on_disk": ("0", "1"),
    "rescore": ("0", "1"),
}
_TEXTS = ("index", _INDEX_FIELD)
_MAX_NUMBER = 1_000_000


@dataclass(frozen=True)
class StoreURL:
    """A parsed store URL. `path` is that of an embedded index, or the URL of a server without options."""

    text: str
    scheme: str
    path: str
    options: dict[str, str]


@dataclass(frozen=True)
class Location:
    """Where an embedded store is: its index folder and the name of its index there."""

    url: StoreURL
    root: Path
    name: str


def as_url(store: str | os.PathLike[str]) -> str:
    """Return the store URL for a URL or a path; a bare path is an index folder, searched with Qdrant Edge."""
    text = os.fspath(store)
    return text if _SCHEME.match(text) else f"{DEFAULT_ENGINE}:{text}"


def split(text: str) -> tuple[str, str, str]:
    """Return scheme, path and options of a store URL, unchecked."""
    scheme, _, rest = text.partition(":")
    path, _, options = rest.partition("?")
    return scheme, path, options


def with_index_fields(stores: Sequence[str | os.PathLike[str]], fields: Sequence[str]) -> list[str]:
    """Return the store URLs, with these fields for the engines that have an index of each field.

    Raises:
        UsageError: No store has such an engine.
    """
    urls = [as_url(store) for store in stores]
    indexing = [_INDEX_FIELD in ENGINES[split(url)[0]].options if split(url)[0] in ENGINES else False for url in urls]
    if not any(indexing):
        raise UsageError("--index-field works with edge:PATH only: a FAISS index has none, and a server has them all")
    option = urlencode({_INDEX_FIELD: ",".join(fields)}, safe=",")
    return [
        f"{url}{'&' if '?' in url else '?'}{option}" if has else url for url, has in zip(urls, indexing, strict=True)
    ]


def parse(text: str) -> StoreURL:
    """Parse a store URL; raise `UsageError` for an unknown scheme or option, or an invalid value."""
    scheme, path, query = split(text)
    options = dict(parse_qsl(query, keep_blank_values=True))
    if scheme in SERVER_SCHEMES:
        return StoreURL(text, scheme, f"{scheme}:{path}", options)
    if scheme in API_SCHEMES:
        if options:
            raise UsageError(f"store {redacted(text)!r}: {scheme} has no options")
        return StoreURL(text, scheme, f"{scheme.removeprefix('cbir+')}:{path}", options)
    if scheme not in ENGINES or not path:
        embedded = ", ".join(f"{engine}:PATH" for engine in ENGINES)
        raise UsageError(
            f"unknown store {redacted(text)!r}; a store is {embedded}, http://HOST:PORT, https://HOST:PORT or"
            " cbir+https://HOST:PORT/COLLECTION"
        )
    supported = ENGINES[scheme].options
    for name, value in options.items():
        if name not in supported:
            raise UsageError(f"store {text!r}: unknown option {name!r}; {scheme} has {', '.join(supported)}")
        if name in _CHOICES:
            if value not in _CHOICES[name]:
                raise UsageError(f"store {text!r}: {name} must be one of {', '.join(_CHOICES[name])}, not {value!r}")
        elif name not in _TEXTS and not (value.isdecimal() and 0 < int(value) <= _MAX_NUMBER):
            raise UsageError(f"store {text!r}: {name} must be a whole number from 1 to {_MAX_NUMBER:,}, not {value!r}")
    return StoreURL(text, scheme, path, options)


def locate(urls: Sequence[StoreURL]) -> list[Location]:
    """Return where each of the embedded stores is, given that they are used together."""
    paths = [_resolved(url) for url in urls]
    locations = []
    for url, path in zip(urls, paths, strict=True):
        inside = not (path / MARKER).is_file() and (path.parent in paths or (path.parent / MARKER).is_file())
        if inside and (path.name in layout.RESERVED or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", path.name)):
            raise UsageError(
                f"store {url.text!r}: {path.name!r} cannot be an index's name; use letters, digits, - and _"
            )
        locations.append(Location(url, path.parent, path.name) if inside else Location(url, path, url.scheme))
    if len({(location.root, location.name) for location in locations}) < len(locations):
        raise UsageError(f"the same index twice: {', '.join(url.text for url in urls)}")
    return locations


def _resolved(url: StoreURL) -> Path:
    try:
        path = Path(url.path).expanduser().resolve()
    except RuntimeError as error:  # an unknown ~user
        raise UsageError(f"store {url.text!r}: {error}") from None
    if not str(path).isprintable():
        raise UsageError(f"store {url.text!r}: the path must be printable text")
    return path

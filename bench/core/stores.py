"""What the bench needs to know of store URLs and engines. No other module here parses a URL."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from cbir.errors import UsageError
from cbir.records import Vector
from cbir.settings import Settings
from cbir.stores.base import Store, StoreInfo
from cbir.stores.embedded.catalog import EmbeddedCatalog
from cbir.stores.embedded.reader import EmbeddedStore
from cbir.stores.engines import ENGINES
from cbir.stores.registry import connect
from cbir.stores.url import SERVER_SCHEMES, Location, split
from cbir.text import redacted

EF_VALUES = {"graph": (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512), "ivf": (1, 2, 4, 8, 16, 32, 64, 128)}
PARAMETERS = {"graph": "ef", "ivf": "nprobe"}


def engine_of(url: str, dimension: int) -> tuple[str, Any, dict[str, str]]:
    """Return the engine that a store URL names: a name for tables, such as "faiss HNSW16", its module and options."""
    location = location_of(url)
    if location is None:
        raise UsageError(f"{redacted(url)} is a server and cannot be measured here. Use edge: or faiss: with options.")
    kind, given = location.url.scheme, dict(location.url.options)
    engine = ENGINES[kind]
    options = {**engine.options, **engine.initial, **given}
    module = engine.load()
    module.check_options(options, dimension)
    given.pop("index", "")
    factory = options.get("index", "")
    words = [kind, *filter(None, [factory]), *(f"{name}={value}" for name, value in given.items())]
    return " ".join(words), module, options


def location_of(url: str) -> Location | None:
    """Return where an embedded store is: its index folder and the index's name in it; None for a server."""
    catalog = connect(url, Settings())
    return catalog.locations[0] if isinstance(catalog, EmbeddedCatalog) else None


def identity(url: str) -> Hashable:
    """Return what two URLs of the same store share: an embedded index and its search options, or a server."""
    location = location_of(url)
    if location is None:
        return redacted(url).rstrip("/")
    defaults = ENGINES[location.url.scheme].search_options
    return location.root, location.name, tuple(location.url.options.get(name, defaults[name]) for name in defaults)


def index_folder(info: StoreInfo) -> Path | None:
    """Return the folder with the files of a store's index; None for a server."""
    location = location_of(info.url)
    return location.root / info.collection / info.generation / location.name if location else None


def copied_url(location: Location, folder: Path) -> str:
    """Return the URL of an embedded store's copy in another index folder, with the same options."""
    scheme, _, options = split(location.url.text)
    return f"{scheme}:{folder / location.name}" + (f"?{options}" if options else "")


def bare_search(store: Store, vector: Vector, k: int, ef: int | None = None) -> Callable[[], object] | None:
    """Return the engine's own call for a query, without the store protocol; None for a server."""
    return store.index.raw(vector, k, ef) if isinstance(store, EmbeddedStore) else None


def kind_of(url: str) -> str:
    """Return "server", or the kind of an embedded store, from the text of its URL alone."""
    scheme = split(url)[0]
    return "server" if scheme in SERVER_SCHEMES else scheme


def store_name(url: str) -> str:
    """Return a short name of a store that is the same on every machine: its kind, last folder and options."""
    if (kind := kind_of(url)) == "server":
        return kind
    _, path, options = split(url)
    last = path.rstrip("/").rpartition("/")[2]
    return kind + (f" {last}" if last not in (kind, "index", "") else "") + (f" {options}" if options else "")


def unique_names(urls: Sequence[str], name: Callable[[str], str] = store_name) -> dict[str, str]:
    """Return a name for each store URL: what `name` returns, numbered if several stores would share it."""
    names = {url: name(url) for url in urls}
    counts = Counter(names.values())
    taken = {found for found, stores in counts.items() if stores == 1}
    for url, found in names.items():
        if counts[found] > 1:
            names[url] = next(free for number in count(1) if (free := f"{found} {number}") not in taken)
            taken.add(names[url])
    return names


def default_ef(info: StoreInfo) -> int | None:
    """Return the ef or nprobe that a store uses unless a search says otherwise; None for a scan or an unknown one."""
    value = info.options.get(PARAMETERS.get(info.access, ""))
    return None if value is None else int(value)


def ef_values(info: StoreInfo, wanted: Sequence[int], k: int) -> list[int | None]:
    """Return the `wanted` values of ef or nprobe, or the usual ones; a graph gives at most ef hits."""
    if info.access not in PARAMETERS:
        return [None]
    lowest = k if info.access == "graph" else 1
    values = wanted or [*EF_VALUES[info.access], default_ef(info) or lowest]
    return [*sorted({max(value, lowest) for value in values})]

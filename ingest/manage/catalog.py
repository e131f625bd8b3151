"""Where the journals of collections lie, how two collections differ, and how one is dropped or chosen."""

import fcntl
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cbir.errors import CbirError, UsageError
from cbir.index.generation import (
    JOURNAL,
    LOCK,
    LOG,
    POINTER,
    Pointer,
    collections,
    load,
    open_generation,
    resolve,
    save,
)
from cbir.pipeline.journal import server_journal
from cbir.settings import Settings
from cbir.stores.base import Store, locate, newest_collection, parse

_LOT = 200


@dataclass(frozen=True)
class Comparison:
    """How two collections differ: keys in one only, keys in both with other bytes, and the lowest cosine of the rest.

    `lowest_cosine` is None if they have no picture in common, or were made with different models.
    """

    only_first: list[str]
    only_second: list[str]
    changed: list[str]
    same: int
    lowest_cosine: float | None


def compare(first: Store, second: Store) -> Comparison:
    """Return how two open collections differ, by their pictures' keys."""
    known = {str(point.payload["key"]): (str(point.payload["sha256"]), point.id) for point in first.points()}
    one_model = first.info.model.sha256 == second.info.model.sha256
    here, changed, cosines, same = set[str](), [], [1.0], 0
    theirs = second.points()
    while lot := list(islice(theirs, _LOT)):
        both = []
        for point in lot:
            key = str(point.payload["key"])
            here.add(key)
            sha256, identity = known.get(key, ("", ""))
            if identity and sha256 == point.payload["sha256"]:
                both.append((identity, point.vector))
            elif identity:
                changed.append(key)
        same += len(both)
        vectors = first.vectors([identity for identity, _ in both]) if one_model else []
        pairs = zip(vectors, (vector for _, vector in both), strict=False)
        cosines += [float(ours @ vector) for ours, vector in pairs if ours is not None]
    lowest = min(cosines) if same and one_model else None
    return Comparison(sorted(known.keys() - here), sorted(here - known.keys()), sorted(changed), same, lowest)


def drop(url: str, name: str, settings: Settings) -> None:
    """Remove a collection and all that belongs to it.

    Raises:
        UsageError: There is none of that name.
        CbirError: An ingest is filling it.
    """
    parsed = parse(url)
    if not parsed.embedded:
        from cbir.stores.qdrant.store import drop_collection

        drop_collection(url, name, settings)
        return
    root = locate([parsed])[0].root
    folder = root / name
    if not (folder / LOCK).is_file():
        raise UsageError(f"{root} has no collection {name!r}; it has: {', '.join(collections(root)) or 'none'}")
    with (folder / LOCK).open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CbirError(f"an ingest is filling {folder}; stop it first") from None
        (folder / POINTER).unlink(missing_ok=True)  # first: from here on nobody opens it
        shutil.rmtree(folder)


def use(url: str, name: str, settings: Settings) -> None:
    """Make a complete collection the one that its data set's name means, and that is opened where none is named.

    Raises:
        UsageError: There is none of that name, or it is not complete.
    """
    parsed = parse(url)
    if not parsed.embedded:
        from cbir.stores.qdrant.store import use_collection

        use_collection(url, name, settings)
        return
    root = locate([parsed])[0].root
    open_generation(root, name).require_whole(LOG)
    save(root / name / POINTER, load(root / name / POINTER, Pointer))  # the newest pointer counts


def journals(stores: Sequence[str], collection: str | None, settings: Settings) -> list[Path]:
    """Return the paths of a collection's journals in these stores.

    Raises:
        UsageError: A store has no such collection.
    """
    found = dict[Path, None]()
    for url in map(parse, stores):
        if not url.embedded:
            found[server_journal(settings, url.text, collection or newest_collection(url.text, settings))] = None
            continue
        root = locate([url])[0].root
        path = root / collection / JOURNAL if collection else None
        if path is None or not path.is_file():  # one that was never published has failures, too
            name = resolve(root, collection) if collection else newest_collection(url.text, settings)
            path = root / name / JOURNAL
        found[path] = None
    return list(found)

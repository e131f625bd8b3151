"""Pictures that are there twice: the same bytes, or the same look to a perceptual hash."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cbir.pipeline.journal import Journal
from cbir.records import Point

_SIDE, _KEPT = 32, 8
_NOISE = 0.01


@dataclass(frozen=True)
class Original:
    """The stored picture that another is a copy of, and how: "the same bytes" or how near it comes."""

    key: str
    how: str


class Duplicates:
    """Finds the original of a point among what a journal knows, and, if asked to, by look.

    Args:
        journal: Of the collection.
        bits: The most bits that two pictures of one look may differ in; None looks at bytes alone.
        stored: (key, thumbnail) of what is stored already; read only if `bits` is given.
    """

    def __init__(self, journal: Journal, bits: int | None, stored: Iterable[tuple[str, bytes]]):
        self._journal = journal
        self._bits = bits
        self._fresh: dict[str, Point] = {}
        self._keys: list[str] = []
        if bits is not None:
            import faiss

            self._index = faiss.IndexBinaryFlat(_KEPT * _KEPT)
            for key, thumbnail in stored:
                self._add(key, perceptual_hash(thumbnail))

    def original(self, point: Point) -> Original | None:
        """Return the stored picture that `point` is a copy of, or None; then it counts as stored itself."""
        key = str(point.payload["key"])
        sha256 = str(point.payload["sha256"])
        fresh = self._fresh.setdefault(sha256, point)
        copied = self._journal.key_of(sha256, point.id) if fresh.id == point.id else str(fresh.payload["key"])
        if copied is not None:
            return Original(copied, "the same bytes")
        if self._bits is None:
            return None
        code = perceptual_hash(point.thumbnail)
        if self._keys:
            distances, positions = self._index.search(code[None], 1)
            found = self._keys[int(positions[0, 0])]
            if distances[0, 0] <= self._bits and found != key:
                return Original(found, f"{distances[0, 0]} of 64 bits differ")
        self._add(key, code)
        return None

    def committed(self) -> None:
        """Forget what the journal has written down by now."""
        self._fresh.clear()

    def _add(self, key: str, code: np.ndarray) -> None:
        self._index.add(code[None])
        self._keys.append(key)


def groups(points: Iterable[Point], bits: int | None) -> list[list[str]]:
    """Return the keys of points that are copies of each other, a list for each group, with the first key first.

    Copies have the same bytes or, if `bits` is given, perceptual hashes of which at most so many bits differ.
    """
    keys: list[str] = []
    contents: dict[str, int] = {}
    parents: list[int] = []
    codes: list[np.ndarray] = []

    def root(at: int) -> int:
        while parents[at] != at:
            at = parents[at]
        return at

    for at, point in enumerate(points):
        keys.append(str(point.payload["key"]))
        parents.append(contents.setdefault(str(point.payload["sha256"]), at))
        if bits is not None:
            codes.append(perceptual_hash(point.thumbnail))
    if codes and bits is not None:
        import faiss

        index = faiss.IndexBinaryFlat(_KEPT * _KEPT)
        index.add(np.stack(codes))
        limits, _, near = index.range_search(np.stack(codes), bits + 1)
        for at in range(len(keys)):
            for other in near[limits[at] : limits[at + 1]].tolist():
                parents[root(max(at, other))] = root(min(at, other))
    found: dict[int, list[str]] = {}
    for at, key in enumerate(keys):
        found.setdefault(root(at), []).append(key)
    return sorted(sorted(group) for group in found.values() if len(group) > 1)


def perceptual_hash(picture: bytes) -> np.ndarray:
    """Return the 64-bit pHash of an image file's bytes, uint8 (8,).

    The 8 x 8 lowest frequencies of the discrete cosine transform of the picture in 32 x 32 greys, each above or below
    their median (C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1).
    The bar lies a little above the median, because half of a symmetric picture's frequencies are nothing but noise.
    """
    with Image.open(io.BytesIO(picture), formats=("JPEG",)) as image:
        grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float64)
    frequency, place = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None]
    basis = np.cos(np.pi * frequency * (2 * place + 1) / (2 * _SIDE))
    low = basis @ grey @ basis.T
    bar = np.median(low) + _NOISE * np.abs(low.ravel()[1:]).max()
    return np.packbits(low.ravel() > bar)

"""Images stored more than once: the same bytes, or the same look to a perceptual hash."""

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from cbir.records import Point

_SIDE, _KEPT = 32, 8
HASH_BITS = _KEPT * _KEPT
_NOISE = 0.01


def groups(points: Iterable[Point], bits: int | None) -> list[list[str]]:
    """Return the keys of points that are copies of each other, sorted, a list for each group.

    Copies have the same bytes or, if `bits` is given, perceptual hashes that differ in at most so many bits.
    """
    keys: list[str] = []
    contents: dict[str, int] = {}
    parents: list[int] = []  # a forest: the points of one tree are copies
    codes: list[np.ndarray] = []

    def root(i: int) -> int:
        while parents[i] != i:
            i = parents[i]
        return i

    for i, point in enumerate(points):
        keys.append(str(point.payload["key"]))
        parents.append(contents.setdefault(str(point.payload["sha256"]), i))
        if bits is not None:
            codes.append(perceptual_hash(point.thumbnail))
    if codes and bits is not None:
        import faiss

        index = faiss.IndexBinaryFlat(HASH_BITS)
        index.add(np.stack(codes))
        limits, _, near = index.range_search(np.stack(codes), bits + 1)
        for i in range(len(keys)):
            for other in near[limits[i] : limits[i + 1]].tolist():
                parents[root(max(i, other))] = root(min(i, other))
    found: dict[int, list[str]] = {}
    for i, key in enumerate(keys):
        found.setdefault(root(i), []).append(key)
    return sorted(sorted(group) for group in found.values() if len(group) > 1)


def perceptual_hash(image_file: bytes) -> np.ndarray:
    """Return the 64-bit pHash of the bytes of a JPEG file, uint8 (8,).

    The image is reduced to 32 x 32 grey pixels. Each of the 8 x 8 lowest frequencies of its discrete cosine transform
    gives a bit: whether it is above their median (C. Zauner, Implementation and Benchmarking of Perceptual Image Hash
    Functions, 2010, section 3.2.1). The threshold is slightly above the median, because half of the frequencies of a
    symmetric image are only noise.
    """
    with Image.open(io.BytesIO(image_file), formats=("JPEG",)) as image:
        grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float64)
    frequency, pixel = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None]
    basis = np.cos(np.pi * frequency * (2 * pixel + 1) / (2 * _SIDE))
    low = basis @ grey @ basis.T
    threshold = np.median(low) + _NOISE * np.abs(low.ravel()[1:]).max()
    return np.packbits(low.ravel() > threshold)

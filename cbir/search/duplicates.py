"""Pictures that are there twice: the same bytes, or the same look to a perceptual hash."""

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from cbir.records import Point

_SIDE, _KEPT = 32, 8
HASH_BITS = _KEPT * _KEPT
_NOISE = 0.01


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

        index = faiss.IndexBinaryFlat(HASH_BITS)
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

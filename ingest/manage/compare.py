"""How two collections differ."""

from dataclasses import dataclass
from itertools import islice

from cbir.stores.base import Store

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

"""The comparison of two collections."""

from dataclasses import dataclass
from itertools import islice

from cbir.stores.base import Store

_BATCH = 200


@dataclass(frozen=True)
class Comparison:
    """The differences of two collections: the keys that only one has, or both with different images.

    `lowest_cosine` is that of the vectors of the `same` images, None if there are none or the models differ.
    """

    only_first: list[str]
    only_second: list[str]
    changed: list[str]
    same: int
    lowest_cosine: float | None


def compare(first: Store, second: Store) -> Comparison:
    """Return the differences of two open collections. Images are matched by their keys."""
    first_points = {str(point.payload["key"]): (str(point.payload["sha256"]), point.id) for point in first.points()}
    same_model = first.info.model.sha256 == second.info.model.sha256
    second_keys, changed, cosines, same = set[str](), [], [1.0], 0
    points = second.points()
    while batch := list(islice(points, _BATCH)):
        both = []
        for point in batch:
            key = str(point.payload["key"])
            second_keys.add(key)
            sha256, first_id = first_points.get(key, ("", ""))
            if first_id and sha256 == point.payload["sha256"]:
                both.append((first_id, point.vector))
            elif first_id:
                changed.append(key)
        same += len(both)
        vectors = first.vectors([first_id for first_id, _ in both]) if same_model else []
        pairs = zip(vectors, (vector for _, vector in both), strict=False)
        cosines += [float(found @ vector) for found, vector in pairs if found is not None]
    lowest = min(cosines) if same and same_model else None
    first_keys = first_points.keys()
    return Comparison(sorted(first_keys - second_keys), sorted(second_keys - first_keys), sorted(changed), same, lowest)

"""The comparison of two collections."""

from dataclasses import dataclass
from itertools import islice

from cbir.stores.base import Catalog

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


def compare(first: Catalog, first_name: str, second: Catalog, second_name: str) -> Comparison:
    """Return the differences of two collections. Images are matched by their keys."""
    contents, others, get = first.contents(first_name), second.contents(second_name), first.read_back(first_name).get
    first_points = {str(point.payload["key"]): (str(point.payload["sha256"]), point.id) for point in contents.points()}
    same_model = contents.plan.model.sha256 == others.plan.model.sha256
    second_keys, changed, cosines, same = set[str](), [], [1.0], 0
    points = others.points()
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
        found = get([first_id for first_id, _ in both]) if same_model else {}
        cosines += [float(found[first_id].vector @ vector) for first_id, vector in both if first_id in found]
    lowest = min(cosines) if same and same_model else None
    first_keys = first_points.keys()
    return Comparison(sorted(first_keys - second_keys), sorted(second_keys - first_keys), sorted(changed), same, lowest)

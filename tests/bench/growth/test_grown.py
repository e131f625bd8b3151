"""A collection that has grown, and a fresh build."""

from cbir.bench.core.rows import typed_table
from cbir.bench.growth.grown import Grown, add_and_delete, change_at_random, compared_with_fresh
from cbir.bench.growth.workplace import Workplace

from cbir.collection import Collection
from cbir.tables import Range


def test_random_changes_are_of_all_kinds(place: Workplace) -> None:
    with place.open(place.copy()) as photos:
        assert change_at_random(photos, place.points) == "20 random changes"
        assert photos.count("season=none")
        keys = {image.key for image in photos.scroll()}
        replaced = {image.key for image in photos.scroll() if image.key.isdigit() and "new" in image.payload["title"]}
    assert any(key.startswith("new") for key in keys)
    assert replaced
    assert {str(number) for number in range(place.points)} - keys, "some were deleted"


def test_a_scan_of_a_grown_collection_finds_the_same_as_of_a_fresh_one(place: Workplace) -> None:
    root = place.copy()
    with place.open(root) as photos:
        assert add_and_delete(photos, place.points) == "5% added, 1% deleted"
        assert photos.count() == place.points + 60 - 12
    (grown,) = compared_with_fresh(place, root, "something", 10)
    assert grown.name == "something, faiss index=Flat"
    assert (grown.recall, grown.fresh_recall) == (1, 1)
    assert grown.megabytes > 0 and grown.fresh_megabytes > 0


def test_recall_is_rounded_down() -> None:
    spread = Range(1.0, 1.0, 1.0)
    table = typed_table("", "after", Grown, [("a", Grown("a", spread, spread, 1.0, 0.99996, 0.99997, 1.0, 1.0))])
    assert table.texts()[0][4:6] == ["0.9999", "0.9999"]


def test_a_hit_that_should_be_deleted_does_not_count(place: Workplace) -> None:
    root = place.copy()
    with place.open(root) as photos:
        photos.delete(filter="part<6")
    stale, open_really = place.copy(), place.open

    class Stale(Workplace):
        """Opens a collection from which nothing was deleted in place of the grown one."""

        def open(self, folder: object, *urls: str) -> Collection:
            return open_really(stale) if folder == root else open_really(folder, *urls)  # type: ignore[arg-type]

    changed = object.__new__(Stale)
    changed.__dict__.update(place.__dict__)
    (grown,) = compared_with_fresh(changed, root, "stale", 10)
    assert grown.recall < 1
    assert grown.fresh_recall == 1

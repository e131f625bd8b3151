"""Changes that are timed."""

import pytest
from cbir.bench.growth.changes import add_and_find, by_api, by_command, in_a_row, longest_pause
from cbir.bench.growth.made_up import Images, new_images
from cbir.bench.growth.workplace import Workplace

from cbir.errors import CbirError


def test_an_addition_counts_only_if_the_next_search_finds_it(place: Workplace) -> None:
    images = new_images(5, 77)
    with place.open(place.copy()) as photos:
        assert min(add_and_find(photos, images)) > 0
        assert photos.count() == place.points + 5
        same_image = Images(images.files[-1:], ["another"], images.payloads[-1:])
        with pytest.raises(CbirError, match="another was added, but"):
            for _ in range(2):  # of two equal images, either may come first
                add_and_find(photos, same_image)
                same_image = Images(same_image.files, ["another again"], same_image.payloads)


def test_changes_are_compared_with_one_full_rebuild(place: Workplace) -> None:
    changes = [*by_api(place, 5, 2), *by_command(place, 5, 1)]
    names = [change.name for change in changes]
    assert [name.split(", ")[1].split(":")[0] for name in names] == [
        "photos.add and search", "cbir-ingest add", "cbir-ingest update", "cbir-ingest delete",
    ]  # fmt: skip
    assert {change.rebuild for change in changes} == {place.rebuild.seconds}
    for change in changes:
        assert change.ratio == pytest.approx(change.seconds.value / place.rebuild.seconds)
        assert change.core_seconds.value > 0


def test_commits_in_a_row(place: Workplace) -> None:
    with place.open(place.copy()) as photos:
        commits = in_a_row(photos, place, 5, 4)
        assert photos.count() == place.points + 20
    assert commits.ratio == pytest.approx(commits.last / commits.first)
    assert commits.longest >= commits.median


def test_a_pause_is_the_longest_search(place: Workplace) -> None:
    pause = longest_pause(place, 5, 1)
    assert pause.longest_before_ms >= pause.before_ms > 0
    assert pause.longest_ms >= pause.during_ms > 0

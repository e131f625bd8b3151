"""Copies of stored images."""

import io
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir.pipeline.copies import Copies
from cbir.pipeline.journal import Journal
from cbir.pipeline.run import Policy, ingest
from cbir.search.duplicates import perceptual_hash
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from tests.support.building import catalogs, points_of, unit_vectors
from tests.support.contract import NOBODY
from tests.support.examples import SampleImages
from tests.support.ingesting import SYNC, file_keys, files, run, some_images, stored_keys, sync


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


def test_copies_are_counted_and_left_out_if_asked(photos: Path, model_file: Path) -> None:
    original = files(photos)[4]
    (photos / "zz").mkdir()
    shutil.copyfile(original, photos / "zz" / "copy.png")
    Image.open(original).convert("RGB").resize((200, 200)).save(photos / "zz" / "like it.jpg", quality=80)
    exact = sync(photos, model_file)
    assert (exact.stored, exact.duplicates) == (14, 1)
    shutil.rmtree(photos.parent / "index")
    summary = sync(photos, model_file, Policy(skip_duplicates=True, near_duplicates=4))
    name = original.relative_to(photos).as_posix()
    assert summary.duplicates == 2
    assert {(one["key"], one["original"]) for one in summary.copies} == {
        ("zz/copy.png", name),
        ("zz/like it.jpg", name),
    }
    assert (summary.stored, summary.skipped) == (12, 2)
    again = sync(photos, model_file, Policy(skip_duplicates=True, near_duplicates=4))
    assert (again.stored, again.skipped, again.unchanged) == (0, 2, 12)
    groups = json.loads(run("duplicates", "--store", f"faiss:{photos.parent}/index", "--near", 4, "--json").stdout)
    assert groups == []


@pytest.mark.parametrize("policy", [SYNC, Policy(remove_missing=True, skip_duplicates=True, near_duplicates=4)])
def test_a_renamed_file_is_no_copy_and_is_not_left_out(photos: Path, model_file: Path, policy: Policy) -> None:
    sync(photos, model_file, policy)
    renamed = files(photos)[4].rename(photos / "renamed.png")
    report = sync(photos, model_file, policy)
    assert (report.stored, report.renamed, report.removed, report.duplicates, report.skipped) == (1, 1, 0, 0, 0)
    assert stored_keys(photos) == file_keys(photos)
    shutil.copyfile(renamed, photos / "zz copy.png")
    report = sync(photos, model_file, policy)
    assert report.copies == [{"key": "zz copy.png", "original": "renamed.png", "how": "the same bytes"}]


def test_an_image_that_is_in_the_source_under_two_names_is_a_copy_of_the_one_that_stays(
    photos: Path, model_file: Path
) -> None:
    """The first of the three names is missing in the source, the second is not."""
    first = files(photos)[0]
    shutil.copyfile(first, photos / "m.png")
    sync(photos, model_file)
    first.rename(photos / "z.png")
    report = sync(photos, model_file, Policy())
    assert [(copy["key"], copy["original"]) for copy in report.copies] == [("z.png", "m.png")]


def test_a_copy_of_an_image_of_another_folder_of_the_data_set_is_left_out(photos: Path, model_file: Path) -> None:
    policy, store = Policy(skip_duplicates=True, near_duplicates=4), f"faiss:{photos.parent}/index"
    ingest(open_source(str(photos), SourceOptions()), catalogs(store), model_file, Settings())
    more = photos.parent / "more"
    more.mkdir()
    first, second = files(photos)[:2]
    shutil.copyfile(first, more / "same.png")
    Image.open(second).convert("RGB").resize((200, 200)).save(more / "like it.jpg", quality=80)
    report = ingest(
        open_source(str(more), SourceOptions()),
        catalogs(store),
        model_file,
        Settings(),
        dataset="photos",
        policy=policy,
    )
    originals = {copy["key"]: copy["original"] for copy in report.copies}
    assert originals == {
        name: path.relative_to(photos).as_posix()
        for name, path in zip(("same.png", "like it.jpg"), (first, second), strict=True)
    }
    assert (report.stored, report.duplicates, report.skipped) == (0, 2, 2)


def test_an_ingest_of_a_part_takes_every_stored_image_for_an_original(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    files(photos)[0].rename(photos / "0.png")
    source = open_source(str(photos), SourceOptions(limit=1))
    report = ingest(source, catalogs(f"faiss:{photos.parent}/index"), model_file, Settings())
    assert [copy["key"] for copy in report.copies] == ["0.png"]


def test_a_point_is_not_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 40)
    copies = Copies(journal, None, [], lambda key: True, stay=True)
    (point,) = points_of(unit_vectors(1))
    vector = weakref.ref(point.vector)
    copies.originals([point])
    copy = replace(point, id=NOBODY, vector=unit_vectors(1)[0])
    del point
    assert vector() is None
    assert copies.originals([copy]) == {NOBODY: ("0", "the same bytes")}
    journal.close()


def test_as_many_bits_may_differ_as_are_given(tmp_path: Path, sample_images: SampleImages) -> None:
    image = Image.open(io.BytesIO(sample_images[0][2])).convert("RGB")
    thumbnails = []
    for side, quality in ((300, 90), (60, 40)):
        buffer = io.BytesIO()
        image.resize((side, side)).save(buffer, "JPEG", quality=quality)
        thumbnails.append(buffer.getvalue())
    first, second = (perceptual_hash(thumbnail) for thumbnail in thumbnails)
    differing = int(np.unpackbits(first ^ second).sum())
    point = replace(points_of(unit_vectors(1))[0], thumbnail=thumbnails[1])
    journal = Journal(tmp_path / "journal.sqlite", 40)
    for bits, found in ((differing, ("stored", f"{differing} of 64 bits differ")), (differing - 1, None)):
        copies = Copies(journal, bits, [("stored", thumbnails[0])], lambda key: True, stay=True)
        assert copies.originals([point]).get(point.id) == found
    journal.close()

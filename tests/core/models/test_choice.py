"""Which file of the packaged model is used: that of the collection, that of the settings, or the better one here."""

import json
from pathlib import Path

import pytest

import cbir
from cbir.collection import Collection
from cbir.devices import Arithmetic
from cbir.models import choice as module
from cbir.models.choice import choose_file
from cbir.models.sealed import checksum_of, find_model, packaged_files
from cbir.models.self_test import Choice
from cbir.pipeline import run as runs
from cbir.settings import Settings
from tests.support.building import both
from tests.support.ingesting import run, some_images, stores

NAME = "efficientnet_lite0"
AUTO = Settings(precision="auto")


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> list[Arithmetic]:
    """What the self-test finds to be the better one; a test may change it."""
    found: list[Arithmetic] = ["int8"]
    monkeypatch.setattr(module, "choose", lambda *_: Choice(found[0], "cpu", {}, {}))
    return found


def made_with(photos: Collection) -> tuple[str, str]:
    """Return the precision that a collection has stored, and that of its model file."""
    return photos.info.model.precision, photos.embedder.card.precision


def test_the_settings_name_a_file_and_a_path_is_itself(model_file: Path, faster: list[Arithmetic]) -> None:
    files = packaged_files(NAME)
    assert list(files) == ["fp32", "int8"]
    assert choose_file(NAME, AUTO) == files["int8"] == find_model(f"{NAME}-int8")
    assert choose_file(NAME, Settings(precision="fp32")) == files["fp32"] == model_file
    assert choose_file(model_file, AUTO) == model_file
    assert choose_file(str(model_file), Settings(precision="int8")) == model_file
    assert choose_file(f"{NAME}-int8", AUTO) == files["int8"]
    with pytest.raises(cbir.UsageError, match="packaged in int8 only, not in fp32"):
        choose_file(f"{NAME}-int8", Settings(precision="fp32"))
    assert choose_file(NAME, Settings(precision="auto", device="cuda")) == files["fp32"]
    assert choose_file(NAME, AUTO, tested=False) == files["fp32"]
    faster[0] = "fp32"
    assert choose_file(NAME, AUTO) == files["fp32"]


def test_the_real_self_test_chooses_one_of_the_files(tmp_path: Path) -> None:
    settings = Settings(precision="auto", cache=tmp_path)
    assert choose_file(NAME, settings) in packaged_files(NAME).values()
    (tested,) = json.loads((tmp_path / "self-tests.json").read_text()).values()
    assert {"fp32 on cpu", "int8 on cpu"} <= set(tested["milliseconds"])


@pytest.mark.parametrize("model", [None, NAME])
def test_a_collection_keeps_the_precision_that_it_was_made_with(
    model: str | None, photo_folder: Path, tmp_path: Path, faster: list[Arithmetic]
) -> None:
    """Also if the self-test chooses differently later, as on another machine."""
    folder = some_images(photo_folder, tmp_path / "photos", 6)
    query = next(folder.rglob("*.png"))
    with cbir.open(both(tmp_path / "index"), create=True, model=model, settings=AUTO) as photos:
        assert photos.add(folder).precision == "int8"
        assert made_with(photos) == ("int8", "int8")
    faster[0] = "fp32"
    with cbir.open(both(tmp_path / "index"), create=True, model=model, settings=AUTO) as photos:
        report = photos.add([query.read_bytes()], keys=["added"])
        assert (report.stored, report.precision) == (1, "int8")
        assert made_with(photos) == ("int8", "int8")
        hits = photos.search(query, limit=2)
        assert {hit.key for hit in hits} == {"added", query.relative_to(folder).as_posix()}
        assert min(hit.score for hit in hits) > 0.9999


def test_an_interrupted_ingest_is_continued_with_the_precision_it_began_with(
    photo_folder: Path, tmp_path: Path, faster: list[Arithmetic], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, urls = some_images(photo_folder, tmp_path / "photos", 6), both(tmp_path / "index")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with cbir.open(urls, create=True, settings=AUTO) as photos, monkeypatch.context() as patched:
        patched.setattr(runs, "publish_all", interrupt)
        with pytest.raises(KeyboardInterrupt):
            photos.add(folder)
    faster[0] = "fp32"
    with cbir.open(urls, create=True, settings=AUTO) as photos:
        report = photos.add(folder)
        assert (report.resumed, report.precision) == (6, "int8")
        assert made_with(photos) == ("int8", "int8")


def test_shares_of_several_machines_have_one_precision(photo_folder: Path, tmp_path: Path, faster: object) -> None:
    folder = some_images(photo_folder, tmp_path / "photos", 6)
    with cbir.open(both(tmp_path / "index"), create=True, settings=AUTO) as photos:
        assert photos.add(folder, policy=cbir.Policy(partial=True)).precision == "fp32"


def test_another_precision_is_another_model(photo_folder: Path, tmp_path: Path) -> None:
    folder = some_images(photo_folder, tmp_path / "photos", 6)
    names = []
    for precision in ("fp32", "int8"):
        report = json.loads(run(folder, *stores(tmp_path / "index"), "--precision", precision, "--json").stdout)
        assert (report["stored"], report["precision"], report["device"]) == (6, precision, "cpu")
        names.append(report["collection"])
    checksum = checksum_of(packaged_files(NAME)["int8"].read_bytes())
    assert names == ["photos-efficientnet_lite0", f"photos-efficientnet_lite0-{checksum[:8]}"]
    again = json.loads(run(folder, *stores(tmp_path / "index"), "--precision", "int8", "--json").stdout)
    assert (again["collection"], again["unchanged"]) == (names[1], 6)
    with cbir.open(tmp_path / "index", model=NAME, settings=Settings(precision="fp32")) as photos:
        assert made_with(photos) == ("fp32", "fp16")
    refused = run(folder, "--collection", names[0], *stores(tmp_path / "index"), "--precision", "int8", code=2)
    assert "was made with the model efficientnet_lite0 (fp32, " in refused.stderr
    wrong = run(folder, "--model", find_model(NAME), *stores(tmp_path / "index"), "--precision", "int8", code=2)
    assert "calculates in fp32, but --precision or CBIR_PRECISION is int8" in wrong.stderr

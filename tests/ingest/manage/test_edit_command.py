"""`cbir-ingest delete`, `update` and `classify`."""

import io
from collections import Counter
from pathlib import Path

import pytest

import cbir
from tests.support.ingesting import file_keys, files, run, some_images, stored_keys, sync


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


def test_points_are_changed_and_deleted_by_key_and_filter(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    store = ("--store", f"faiss:{photos.parent}/index")
    first, second, *_ = sorted(file_keys(photos))
    assert run("update", "season=Winter", "--id", first, "--id", second, *store).stdout == "2 points changed\n"
    for command in (["delete"], ["update", "season=Summer"]):
        refused = run(*command, "--filter", "seasn=Winter", *store, code=2).stderr
        assert "no image has a field 'seasn'. Nearest: season" in refused
        assert "say which points" in run(*command, *store, code=2).stderr
    assert stored_keys(photos) == file_keys(photos)
    assert run("delete", "--filter", "season=Winter", "--yes", *store).stdout == "2 points removed\n"
    assert stored_keys(photos) == file_keys(photos) - {first, second}


def test_a_label_is_text_and_other_fields_are_what_they_look_like(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    url = f"faiss:{photos.parent}/index"
    key = min(file_keys(photos))
    for text, label in (("007", "007"), ("true", "true"), ("null", None)):
        run("update", f"label={text}", "year=7", "code=007", "size=1_0", "seen=true", "--id", key, "--store", url)
        with cbir.open(url) as collection:
            (image,) = collection.scroll("year=7 and seen=true")
            assert (image.key, image.label) == (key, label)
            assert [image.payload[name] for name in ("year", "code", "size")] == [7, "007", "1_0"]


def test_a_filter_deletes_only_what_was_confirmed(
    photos: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(photos, model_file)
    label = files(photos)[0].parent.name
    delete = ("delete", "--filter", f"label={label}", "--store", f"faiss:{photos.parent}/index")
    matching = len(list((photos / label).iterdir()))
    for answer in (None, "n\n"):
        if answer:
            monkeypatch.setattr("sys.stdin", terminal_saying(answer))
        refused = run(*delete, code=2)
        assert f"{matching} of 12 images match 'label={label}'. Nothing was deleted; add --yes" in refused.stderr
        assert stored_keys(photos) == file_keys(photos)
    monkeypatch.setattr("sys.stdin", terminal_saying("y\n"))
    answered = run(*delete).stdout
    assert f"{matching} of 12 images match" in answered
    assert f"{matching} points removed" in answered
    assert len(stored_keys(photos)) == 12 - matching


LABELS = ("a flag", "an animal", "a face")


def test_images_are_labelled_in_words_and_found_by_a_filter(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    url = f"faiss:{photos.parent}/index"
    out = run("classify", *LABELS, "--store", url).stdout
    with cbir.open(url) as collection:
        expected = {image.key: image for image in collection.classify(LABELS)}
        stored = {image.key: image.payload for image in collection.scroll()}
        assert stored.keys() == expected.keys() == file_keys(photos)
        for key, payload in stored.items():
            assert payload["zero_shot"] == expected[key].label
            assert payload["zero_shot_score"] == pytest.approx(expected[key].score, abs=0.0051)
        assert collection.fields()["zero_shot"] == "text" and collection.fields()["zero_shot_score"] == "number"
        flags = {key for key, image in expected.items() if image.label == "a flag"}
        assert {image.key for image in collection.scroll("zero_shot=a flag")} == flags
        groups = collection.search(text="a flag", group_by="zero_shot", limit=3).groups
        assert {group.value for group in groups} == {image.label for image in expected.values()}
    counts = Counter(image.label for image in expected.values())
    *lines, last = out.splitlines()
    assert {line.split(maxsplit=1)[1]: int(line.split()[0]) for line in lines} == counts
    assert [int(line.split()[0]) for line in lines] == sorted(counts.values(), reverse=True)
    assert last == "12 of 12 images labelled in the field zero_shot"
    before = run("update", "season=Winter", "--filter", "zero_shot_score>=0", "--store", url).stdout
    assert before == "12 points changed\n", "a filter finds the scores too"


def test_labels_of_low_scores_and_of_other_images_are_not_stored(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    url = f"faiss:{photos.parent}/index"
    folder = files(photos)[0].parent.name
    with cbir.open(url) as collection:
        found = collection.classify(LABELS, template="a drawing of {}", filter=f"label={folder}")
        required = sorted(image.score for image in found)[len(found) // 2]
        expected = {image.key: image.label for image in found if image.score >= required}
    options = ("--template", "a drawing of {}", "--filter", f"label={folder}", "--field", "kind")
    run("classify", *LABELS, *options, "--store", url)  # labels that the next run removes
    out = run("classify", *LABELS, *options, "--min-score", required - 1e-9, "--store", url).stdout
    assert 0 < len(expected) < 12
    assert f"{len(expected)} of {len(found)} images labelled in the field kind" in out
    with cbir.open(url) as collection:
        stored = {image.key: image.payload.get("kind") for image in collection.scroll()}
        assert {key: label for key, label in stored.items() if label is not None} == expected
        assert "zero_shot" not in collection.fields()
        assert collection.fields()["kind_score"] == "number"
    nothing = run("classify", *LABELS, "--field", "none", "--min-score", 1, "--store", url).stdout
    assert nothing == "0 of 12 images labelled in the field none\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cat"], "give at least two labels, each of them once, such as ['cat', 'dog']"),
        (["cat", "cat"], "give at least two labels"),
        (["cat", " "], "the text is empty. Enter a word or a sentence."),
        (["cat", "dog", "--template", "a photo"], "the template 'a photo' has no {} where a label goes"),
        (["cat", "dog", "--filter", "labl=x"], "no image has a field 'labl'. Nearest: label"),
        (["cat", "dog", "--min-score", "1.5"], "Invalid value for '--min-score'"),
        (["cat", "dog", "--field", "key"], "key"),
        ([], "Missing argument 'LABEL...'"),
    ],
)
def test_labels_that_cannot_be_stored_are_refused(
    arguments: list[str], message: str, photos: Path, model_file: Path
) -> None:
    sync(photos, model_file)
    url = f"faiss:{photos.parent}/index"
    with cbir.open(url) as collection:
        before = list(collection.scroll())
    refused = run("classify", *arguments, "--store", url, code=2)
    assert message in " ".join(refused.stderr.split())
    assert refused.stdout == ""
    with cbir.open(url) as collection:
        assert list(collection.scroll()) == before


def terminal_saying(answer: str) -> io.StringIO:
    """Return a standard input that is a terminal at which the user types an answer."""
    typed = io.StringIO(answer)
    typed.isatty = lambda: True  # type: ignore[method-assign]
    return typed

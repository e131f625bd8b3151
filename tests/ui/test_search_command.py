"""`cbir-search`: every form of a query, whole paths and ids, one line for a mistake, nothing but JSON with --json."""

import io
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cbir.ui import search_command

import cbir
from tests.support.api import FLAT, claim_another_model, write_images
from tests.support.examples import SampleImages
from tests.support.onnx_file import cast, node, write_model
from tests.support.running import Program, runner
from tests.support.web_server import answer, serve


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Program `cbir-search` in this process: (exit code, standard output, standard error)."""
    return runner(monkeypatch, capsys, search_command.main, "cbir-search")


@pytest.fixture
def image_file(sample_images: SampleImages, tmp_path: Path) -> Path:
    path = tmp_path / "query.png"
    path.write_bytes(sample_images[5][2])
    return path


def key_of(image: tuple[str, str | None, bytes]) -> str:
    key, label, _ = image
    return f"{str(label).replace(' & ', '-')}/{key}.png"


def test_the_table_has_a_line_for_each_hit_with_key_path_and_id(
    run: Program, image_file: Path, sample_images: SampleImages, index: Path
) -> None:
    code, out, err = run(image_file, "--store", f"edge:{index}", "-k", 3)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["rank", "score", "key", "label", "path", "id"]
    rank, score, key, label, path, point_id = lines[1].split()
    assert (rank, score, key, label) == ("1", "1.0000", key_of(sample_images[5]), key.partition("/")[0])
    assert Path(path).read_bytes() == sample_images[5][2]
    with cbir.open(f"edge:{index}") as photos:
        assert photos.get(point_id) == photos.get(key)
    assert "photos-efficientnet_lite0 in edge:" in lines[4]
    assert "(scan, " in lines[4]
    assert len(lines) == 5


def test_json_is_all_there_is_on_standard_output(
    run: Program, image_file: Path, sample_images: SampleImages, index: Path
) -> None:
    code, out, _ = run(image_file, "--store", f"faiss:{index}/faiss", "-k", 2, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["collection"] == "photos-efficientnet_lite0"
    assert found["store"] == f"faiss:{index}/faiss"
    assert found["access"] == "graph"
    assert set(found["milliseconds"]) == {"decode", "preprocess", "model", "store"}
    first, second = found["hits"]
    assert set(first) == {"rank", "score", "id", "key", "label", "payload", "path"}
    assert (first["rank"], first["key"]) == (1, key_of(sample_images[5]))
    assert Path(first["path"]).read_bytes() == sample_images[5][2]
    assert second["score"] <= first["score"]


def test_exact_is_a_scan(run: Program, image_file: Path, index: Path) -> None:
    _, out, _ = run(image_file, "--store", f"faiss:{index}/faiss", "--exact", "--json")
    assert json.loads(out)["access"] == "scan"


def test_the_first_store_of_the_settings_is_the_default(
    run: Program, image_file: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CBIR_STORES", f"faiss:{index}/faiss,edge:{index}")
    _, out, _ = run(image_file, "--json")
    assert json.loads(out)["store"] == f"faiss:{index}/faiss"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            [],
            2,
            "No query given. Name an image file or URL, a stored image with --like KEY, or words with --text.",
        ),
        (["--unlike-text", "red"], 2, "No query given. Name an image file or URL, a stored image with --like KEY, or"),
        (["--text", ""], 2, "the text is empty. Enter a word or a sentence."),
        (["query.png", "--unlike-text", "  "], 2, "the text is empty. Enter a word or a sentence."),
        (["--text", "x" * 2001], 2, "the text has 2,001 characters; the limit is 2,000"),
        (["missing.jpg"], 2, "'missing.jpg' is not a file, and collection photos-efficientnet_lite0 has no image"),
        (["--like", "missing"], 2, "'missing' is not a file, and collection photos-efficientnet_lite0 has no image"),
        (["."], 2, ".: Is a directory"),
        (["http://127.0.0.1:9/a.jpg"], 1, "http://127.0.0.1:9/a.jpg: 127.0.0.1 leads to the private address"),
        (["http://me:secret@127.0.0.1:9/a.jpg"], 1, "error: http://127.0.0.1:9/a.jpg: "),
        (["https:/example"], 2, "'https:/example' is not a file"),
        (["query.png", "--group-by", "labl"], 2, "no image has a field 'labl'. Nearest: label"),
        (["query.png", "--store", "edge:nowhere"], 2, "Create one with: cbir-ingest SOURCE --store edge:nowhere"),
        (["query.png", "--store", "mongo:here"], 2, "unknown store 'mongo:here'"),
        (["query.png", "--store", "edge:{index}", "--collection", "cats"], 2, "no collection 'cats'"),
        (["text.jpg"], 1, "text.jpg: not an image of a known format"),
    ],
)
def test_a_mistake_is_one_line(
    run: Program, image_file: Path, index: Path, arguments: list[str], code: int, message: str
) -> None:
    Path("text.jpg").write_text("this is not an image")
    given = [argument.format(index=index) for argument in arguments]
    ended, out, err = run(*given, *([] if "--store" in given else ["--store", f"edge:{index}"]))
    assert (ended, out) == (code, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_limit_of_zero_is_refused(run: Program, image_file: Path) -> None:
    assert run(image_file, "-k", 0)[0] == 2


def test_random_weights_give_a_warning(
    run: Program, sample_images: SampleImages, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_another_model(monkeypatch)
    _, _, err = run("--like", key_of(sample_images[5]), "--store", f"edge:{index}")
    assert "warning: the model has random weights" in err


@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_key_is_whole(terminal: bool, run: Program, image_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    key = "".join(f"{number}/" for number in range(100))
    with cbir.open(FLAT, create=True) as photos:
        photos.add([image_file], keys=[key])
        point_id = photos.search(image_file)[0].id
    code, out, _ = run(image_file, "--store", FLAT)
    lines = re.sub("\x1b\\[[0-9;]*m", "", out).splitlines()
    cells = ["1", "1.0000", key]
    assert code == 0
    assert [line.split() for line in lines[:-1]] == (
        [cells, [point_id]] if terminal else [["rank", "score", "key", "id"], [*cells, point_id]]
    )


Hit = dict[str, Any]
Found = Callable[..., list[Hit]]


@pytest.fixture
def found(run: Program, index: Path) -> Found:
    """The hits of a command line as JSON."""

    def search(*arguments: object) -> list[Hit]:
        code, out, _ = run("-k", 8, *arguments, "--store", f"edge:{index}", "--json")
        assert code == 0
        hits: list[Hit] = json.loads(out)["hits"]
        return hits

    return search


def ids(hits: list[Hit]) -> list[str]:
    return [hit["id"] for hit in hits]


def test_the_options_are_those_of_the_library(found: Found, image_file: Path) -> None:
    plain = found(image_file)
    label = plain[0]["label"]
    assert label not in {hit["label"] for hit in found(image_file, "--filter", f"label!={label}")}
    assert {hit["label"] for hit in found(image_file, "--filter", f"label={label}", "--ef", 500)} == {label}
    fifth = sorted((hit["score"] for hit in plain), reverse=True)[4]
    for option in ("--min-score", "--threshold"):  # its name and its old one
        assert found(image_file, option, fifth) == plain[:5]
    assert ids(found(image_file, "--diversity", "0.9")) != ids(plain)
    assert ids(found(image_file, "--expand", 5)) != ids(plain)
    assert ids(found(image_file, "--unlike", plain[1]["key"])) != ids(plain)
    later = found(image_file, "--offset", 3)
    assert (ids(later)[:5], [hit["rank"] for hit in later][:5]) == (ids(plain)[3:], [4, 5, 6, 7, 8])
    assert len(found(image_file, "--top", 2)) == 2


def test_hits_come_in_groups(found: Found, image_file: Path) -> None:
    hits = found(image_file, "--group-by", "label", "--group-size", 2, "--limit", 3)
    assert [hit["rank"] for hit in hits] == [1, 2] * 3
    assert all(hit["group"] == hit["label"] for hit in hits)
    assert len({hit["group"] for hit in hits}) == 3
    following = found(image_file, "--group-by", "label", "--group-size", 2, "--limit", 2, "--offset", 1)
    assert [hit["group"] for hit in following] == [hit["group"] for hit in hits[2:]]


def test_a_stored_image_is_named_by_key_or_id(
    found: Found, sample_images: SampleImages, monkeypatch: pytest.MonkeyPatch, image_file: Path
) -> None:
    key, other = key_of(sample_images[5]), key_of(sample_images[9])
    by_key = found("--like", key)
    assert key not in [hit["key"] for hit in by_key]
    first = found(image_file)[0]
    assert first["key"] == key
    assert ids(found("--like", first["id"])) == ids(by_key)
    both = found("--like", key, "--like", other)
    assert {key, other}.isdisjoint(hit["key"] for hit in both)
    Path(key).parent.mkdir()
    Path(key).write_bytes(sample_images[20][2])  # another image, in a file of the same name
    assert ids(found("--like", key)) == ids(by_key)


def test_several_images_are_one_query(found: Found, image_file: Path, sample_images: SampleImages, index: Path) -> None:
    second = image_file.with_name("second.png")
    second.write_bytes(sample_images[9][2])
    with cbir.open(f"edge:{index}") as photos:
        expected = photos.search(like=[image_file, second], limit=8)
    assert ids(found(image_file, second)) == [hit.id for hit in expected]


def test_a_text_is_searched_for(found: Found, run: Program, index: Path) -> None:
    with cbir.open(f"edge:{index}") as photos:
        expected = photos.search(text="a flag", limit=8)
    hits = found("--text", "a flag")
    assert ids(hits) == [hit.id for hit in expected]
    assert [hit["score"] for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-4)
    assert {hit["label"] for hit in hits} == {"Flags"}
    code, out, err = run("--text", "a flag", "--store", f"edge:{index}", "-k", 2)
    assert (code, err) == (0, "")
    assert re.search(r"; ms: text model [\d.]+, store [\d.]+$", out.splitlines()[-1])
    _, out, _ = run("--text", "a flag", "--store", f"edge:{index}", "--json")
    assert set(json.loads(out)["milliseconds"]) == {"text model", "store"}


def test_texts_are_wanted_or_not_wanted_and_have_a_weight(found: Found, image_file: Path, index: Path) -> None:
    with cbir.open(f"edge:{index}") as photos:
        for words, query in (
            (["--text", "a flag", "--text", "food"], {"text": ["a flag", "food"]}),
            (["--text", "a flag", "--unlike-text", "red"], {"text": "a flag", "unlike_text": "red"}),
            ([image_file, "--text", "food"], {"image": image_file, "text": "food"}),
            ([image_file, "--text", "food", "--text-weight", "3"], {"image": image_file, "text": [("food", 3)]}),
            (
                [image_file, "--unlike-text", "food", "--text-weight", "0.5", "--unlike", key_of_first(photos)],
                {"image": image_file, "unlike_text": [("food", 0.5)], "unlike": key_of_first(photos)},
            ),
        ):
            expected = photos.search(**query, limit=8)
            assert ids(found(*words)) == [hit.id for hit in expected]
    plain, heavy = found(image_file, "--text", "food"), found(image_file, "--text", "food", "--text-weight", "3")
    assert ids(plain) != ids(heavy)


def key_of_first(photos: cbir.Collection) -> str:
    """Return the key of any stored image."""
    return next(photos.scroll()).key


@pytest.mark.parametrize("weight", ["0", "-1", "101", "nan", "much"])
def test_a_weight_that_is_out_of_range_is_refused(weight: str, run: Program, index: Path) -> None:
    code, out, err = run("--text", "red", "--text-weight", weight, "--store", f"edge:{index}")
    assert (code, out) == (2, "")
    assert "--text-weight" in err or "the weight of an example must be above 0" in err


def test_the_error_of_a_model_without_text_tower_is_one_line(run: Program, tmp_path: Path) -> None:
    nodes = [cast("images", "floats"), node("Flatten", "floats", "flat"), node("LpNormalization", "flat", "embeddings")]
    model = write_model(tmp_path / "made.onnx", nodes)
    with cbir.open(FLAT, create=True, model=model) as photos:
        photos.add(write_images("photos", 3, 1))
    code, out, err = run("--text", "red", "--store", FLAT)
    warning, error = err.splitlines()
    assert (code, out, warning.partition(":")[0]) == (2, "", "warning")  # of its random weights
    assert error.startswith("error: made has no text tower, so it cannot be searched by text. Use a model that has one")


def test_an_image_is_read_from_standard_input(
    found: Found, run: Program, image_file: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(image_file.read_bytes())))
    assert ids(found("-")) == ids(found(image_file))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"text")))
    code, _, err = run("-", "--store", f"edge:{index}")
    assert (code, err) == (1, "error: standard input: not an image of a known format\n")


def test_an_image_is_fetched_from_a_url(found: Found, image_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBIR_ALLOW_PRIVATE_ADDRESSES", "1")
    with serve() as site:
        site.pages["/a.png"] = partial(answer, body=image_file.read_bytes())
        assert ids(found(f"{site.url}/a.png")) == ids(found(image_file))


def test_a_search_without_hits_says_so(run: Program, image_file: Path, index: Path) -> None:
    code, out, err = run(image_file, "--store", f"edge:{index}", "--min-score", 1, "--offset", 300)
    assert (code, out.splitlines()[0], err) == (0, "No hits.", "")


def test_the_help_has_examples_and_panels(run: Program) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert "Example: cbir-search ./query.jpg" in out
    assert 'Example: cbir-search --text "red shoe"' in out
    assert [word for word in ("Query", "Collection", "Hits", "Search") if f"─ {word} ─" not in out] == []
    assert "--threshold" not in out

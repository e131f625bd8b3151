"""Searching and `cbir-search`: the right hits, one line for every mistake, nothing but JSON where JSON is asked."""

import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit
from cbir.ui import search_command
from cbir.ui.components import gallery, problems
from cbir.ui.components.gallery import heading, subheading
from cbir.ui.components.web import _bytes
from cbir.ui.launch import EVERYWHERE, is_loopback
from cbir.ui.launch import main as launch
from cbir.ui.pages.search_page import exact_copies
from cbir.ui.query.images import ReadyExample
from cbir.ui.query.state import Example

import cbir
from cbir.collection import Collection
from cbir.errors import CbirError, DamageError, ImageError, UsageError
from cbir.images.crop import Crop
from cbir.images.decode import decode
from cbir.results import Hit, Hits
from cbir.settings import Settings
from cbir.stores.display import display_names
from cbir.stores.embedded import catalog
from cbir.stores.embedded.reader import EmbeddedStore
from tests.support.browser import free_port
from tests.support.examples import SampleImages
from tests.support.running import Program, runner

ID = "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51"


@pytest.fixture(params=["edge:{}", "faiss:{}/faiss"])
def photos(index: Path, request: pytest.FixtureRequest) -> Iterator[Collection]:
    with cbir.open(request.param.format(index)) as opened:
        yield opened


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Program `cbir-search` in this process: (exit code, standard output, standard error)."""
    return runner(monkeypatch, capsys, search_command.main, "cbir-search")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Stands in for the session of a visitor."""
    state: dict[str, object] = {}
    monkeypatch.setattr(streamlit, "session_state", state)
    return state


@pytest.fixture
def picture(sample_images: SampleImages, tmp_path: Path) -> Path:
    path = tmp_path / "query.png"
    path.write_bytes(sample_images[5][2])
    return path


def key_of(picture: tuple[str, str | None, bytes]) -> str:
    key, label, _ = picture
    return f"{str(label).replace(' & ', '-')}/{key}.png"


def test_an_image_finds_itself_first(photos: Collection, sample_images: SampleImages) -> None:
    for picture in sample_images[::60]:
        hits = photos.search(picture[2], limit=5)
        assert hits[0].key == key_of(picture)
        assert hits[0].score == pytest.approx(1, abs=1e-3)
        assert len(hits) == 5
        assert list(hits.milliseconds) == ["decode", "preprocess", "model", "store"]
        assert all(spent > 0 for spent in hits.milliseconds.values())


def test_a_stored_point_is_left_out_of_its_own_answer(photos: Collection) -> None:
    for point_id in photos.store.sample(10, 1):
        hits = photos.search(point_id, limit=7)
        assert len(hits) == 7
        assert point_id not in {hit.id for hit in hits}
        assert list(hits.milliseconds) == ["store"]


def test_hits_come_in_groups_without_the_example(photos: Collection) -> None:
    (point_id,) = photos.store.sample(1, 2)
    hits = photos.search(point_id, group_by="label", limit=4, group_size=3)
    assert len(hits.groups) == 4
    assert list(hits) == [hit for group in hits.groups for hit in group.hits]
    for group in hits.groups:
        assert {hit.label for hit in group.hits} == {group.value}
        assert 0 < len(group.hits) <= 3
        assert point_id not in {hit.id for hit in group.hits}
    best = [group.hits[0].score for group in hits.groups[1:]]
    assert best == sorted(best, reverse=True)


def test_a_part_of_an_image_is_embedded_as_that_part_alone(photos: Collection, sample_images: SampleImages) -> None:
    data = sample_images[9][2]
    image = decode(data)
    crop = Crop(10, 20, 60, 90)
    width, height = image.size
    part = io.BytesIO()
    image.crop((width // 10, height // 5, -(-width * 6 // 10), -(-height * 9 // 10))).save(part, "PNG")
    assert np.allclose(photos.embed(data, crop), photos.embed(part.getvalue()), atol=1e-6)
    assert not np.allclose(photos.embed(data, crop), photos.embed(data), atol=1e-2)


@pytest.mark.parametrize("box", [(0, 0, 0, 50), (50, 0, 40, 50), (-1, 0, 50, 50), (0, 0, 101, 50)])
def test_a_crop_is_a_part_of_the_picture(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError):
        Crop(*box)


def test_exact_copies_are_found_even_where_a_filter_hides_them(photos: Collection, sample_images: SampleImages) -> None:
    data = sample_images[5][2]
    vector, sha256 = photos.embed(data), hashlib.sha256(data).hexdigest()
    example = ReadyExample("like", Example("a"), "a.png", "", None, None, vector, sha256)
    for hits in (Hits(), photos.search(vector, limit=3)):
        assert [hit.key for hit in exact_copies(photos, example, hits)] == [key_of(sample_images[5])]
    assert exact_copies(photos, replace(example, sha256="0" * 64), Hits()) == []


def test_too_many_pixels_are_refused(index: Path, sample_images: SampleImages) -> None:
    settings = Settings(max_image_megapixels=0.01)
    with cbir.open(f"edge:{index}", settings=settings) as small, pytest.raises(ImageError, match="too large"):
        small.embed(sample_images[0][2])


def test_stores_of_one_model_share_its_embedder(index: Path) -> None:
    with cbir.open(f"edge:{index}") as first, cbir.open(f"faiss:{index}/faiss") as second:
        assert first.embedder is second.embedder


@pytest.mark.parametrize(
    "chosen",
    [None, 7, "", [], ["ask"], ["ask", "x"], ["ask", "../x"], ["drop", ID], ["ask", ID.upper()], ["ask", ID, "more"]],
)
def test_an_action_that_cannot_be_is_ignored(chosen: object, session: dict[str, object]) -> None:
    heard: list[tuple[str, str]] = []
    act = gallery._on_act("gallery", lambda what, point_id: heard.append((what, point_id)))
    session["gallery"] = {"act": chosen}
    act()
    assert heard == []
    session["gallery"] = {"act": ["like", ID]}
    act()
    assert heard == [("like", ID)]


@pytest.fixture
def another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every collection says that another model, with random weights, made its vectors."""

    def opened(*arguments: Any) -> EmbeddedStore:
        store = EmbeddedStore(*arguments)
        store.info = replace(store.info, model=replace(store.info.model, sha256="0" * 64, random_weights=True))
        return store

    monkeypatch.setattr(catalog, "EmbeddedStore", opened)


@pytest.mark.usefixtures("another_model")
def test_another_model_than_the_collections_is_refused(index: Path) -> None:
    with (
        cbir.open(f"edge:{index}") as photos,
        pytest.raises(UsageError, match="was made by another efficientnet_lite0"),
    ):
        photos.embedder  # noqa: B018


def test_the_table_names_hits_and_where_they_are_from(
    run: Program, picture: Path, sample_images: SampleImages, index: Path
) -> None:
    code, out, err = run(picture, "--store", f"edge:{index}", "-k", 3)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["rank", "score", "key", "label"]
    assert lines[1].split()[:3] == ["1", "1.0000", key_of(sample_images[5])]
    assert "photos-efficientnet_lite0 in edge:" in lines[4]
    assert "(scan, " in lines[4]
    assert len(lines) == 5


def test_json_is_all_there_is_on_standard_output(
    run: Program, picture: Path, sample_images: SampleImages, index: Path
) -> None:
    code, out, _ = run(picture, "--store", f"faiss:{index}/faiss", "-k", 2, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["collection"] == "photos-efficientnet_lite0"
    assert found["store"] == f"faiss:{index}/faiss"
    assert found["access"] == "graph"
    assert set(found["milliseconds"]) == {"decode", "preprocess", "model", "store"}
    first, second = found["hits"]
    assert set(first) == {"rank", "score", "id", "key", "label", "payload"}
    assert (first["rank"], first["key"]) == (1, key_of(sample_images[5]))
    assert second["score"] <= first["score"]


def test_exact_is_a_scan(run: Program, picture: Path, index: Path) -> None:
    _, out, _ = run(picture, "--store", f"faiss:{index}/faiss", "--exact", "--json")
    assert json.loads(out)["access"] == "scan"


def test_the_first_store_of_the_settings_is_the_default(
    run: Program, picture: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CBIR_STORES", f"faiss:{index}/faiss,edge:{index}")
    _, out, _ = run(picture, "--json")
    assert json.loads(out)["store"] == f"faiss:{index}/faiss"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.jpg"], 2, "missing.jpg: No such file or directory"),
        (["."], 2, ".: Is a directory"),
        (["query.png", "--store", "edge:nowhere"], 2, "Create one with: cbir-ingest SOURCE --store edge:nowhere"),
        (["query.png", "--store", "mongo:here"], 2, "unknown store 'mongo:here'"),
        (["query.png", "--store", "edge:{index}", "--collection", "cats"], 2, "no collection 'cats'"),
        (["text.jpg", "--store", "edge:{index}"], 1, "text.jpg: not an image of a known format"),
    ],
)
def test_a_mistake_is_one_line(
    run: Program, picture: Path, index: Path, arguments: list[str], code: int, message: str
) -> None:
    Path("text.jpg").write_text("this is no picture")
    ended, out, err = run(*(argument.format(index=index) for argument in arguments))
    assert (ended, out) == (code, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_zero_hits_cannot_be_asked_for(run: Program, picture: Path) -> None:
    assert run(picture, "-k", 0)[0] == 2


@pytest.mark.usefixtures("another_model")
def test_random_weights_are_warned_of(run: Program, picture: Path, index: Path) -> None:
    _, _, err = run(picture, "--store", f"edge:{index}")
    assert "warning: the model has random weights" in err


@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_key_is_whole(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], index: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    key = "".join(f"{number}/" for number in range(100))
    with cbir.open(f"edge:{index}") as photos:
        search_command._show(Hits([Hit("1", {"key": key, "label": "cats"}, 0.5)]), photos.info, "scan")
    out = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    hit = out.partition("\n")[2].rpartition("cats")[0].split()[2] if not terminal else ""
    assert "…" not in out
    assert hit == ("" if terminal else key)
    assert key in "".join(out.split()).replace("cats", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "edge:a,edge:b"], "--store edge:a,edge:b: this is more than one store"),
        (["--store", "http://me:secret@host,edge:b"], "--store http://host,edge:b: "),
        (["--public-name", "https://photos.example.org"], "give the host name alone"),
        (["--public-name", "*"], "give the host name alone"),
        (["--public-name", "photos.example.org:443"], "give the host name alone"),
    ],
)
def test_options_of_the_page_that_cannot_be(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cbir-ui", *arguments])
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it started the page"))
    with pytest.raises(SystemExit) as stop:
        launch()
    err = capsys.readouterr().err
    assert (stop.value.code, err.count("\n")) == (2, 1)
    assert message in err


def test_what_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1"]))
    assert not any(
        map(is_loopback, [EVERYWHERE[0], "::", "192.168.1.5", "localhost.example.org", "127.example.org", ""])
    )


def test_the_server_is_told_who_may_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], index: Path
) -> None:
    told: list[str] = []
    monkeypatch.setattr("os.execve", lambda path, command, environment: told.extend(command))
    monkeypatch.setattr("cbir.ui.launch._require_free", lambda host, port: None)  # not every machine has IPv6

    def tell(*arguments: str) -> tuple[list[str], str, str]:
        told.clear()
        monkeypatch.setattr(sys, "argv", ["cbir-ui", "--store", f"edge:{index}", *arguments])
        with pytest.raises(SystemExit):
            launch()
        out, err = capsys.readouterr()
        return [one.partition("=")[2] for one in told if "allowedHosts" in one], out, err

    assert tell()[0] == ["localhost", "127.0.0.1", "::1"]
    hosts, out, err = tell("--host", "127.0.0.2")
    assert (hosts[-1], "http://127.0.0.2:" in out, err) == ("127.0.0.2", True, "")
    assert "http://[::1]:" in tell("--host", "::1")[1]
    hosts, _, err = tell("--host", EVERYWHERE[0])
    assert (hosts, "warning: whoever reaches" in err) == ([], True)
    assert tell("--host", EVERYWHERE[0], "--public-name", "a.org", "--public-name", "b.org")[0][-2:] == [
        "a.org",
        "b.org",
    ]
    assert "--server.corsAllowedOrigins=https://b.org" in told
    assert "--browser.serverAddress=a.org" in told


def test_a_taken_port_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["cbir-ui", "--port", str(port), "--host", "127.0.0.1"])
        with pytest.raises(SystemExit) as stop:
            launch()
    assert stop.value.code == 2
    assert f"error: cannot listen on 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (CbirError("the engine failed in /srv/data/index/edge: gone"), "The engine failed in edge: gone."),
        (CbirError("/srv/x/manifest.json: missing"), "Manifest.json: missing."),
        (
            CbirError("https://me:secret@host:6333 gives no answer; is it up?"),
            "Https://host:6333 gives no answer; is it up?",
        ),
        (CbirError("two\n  lines"), "Two lines."),
        (CbirError("3 of 4 / 5 files"), "3 of 4 / 5 files."),
    ],
)
def test_a_visitor_reads_neither_folders_nor_passwords(error: CbirError, shown: str) -> None:
    assert problems.sentence(error) == shown


def test_damage_is_told_without_a_path() -> None:
    assert "/" not in problems.sentence(DamageError("/srv/index/photos/000001/log/000001.log: missing"))


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["edge:./index", "faiss:./index/faiss"], ["Qdrant Edge · index", "FAISS · faiss"]),
        (["edge:/srv/a/index", "edge:/srv/b/index"], ["Qdrant Edge · a/index", "Qdrant Edge · b/index"]),
        (["edge:index", "edge:index?ef=16"], ["Qdrant Edge · index", "Qdrant Edge · index?ef=16"]),
        (["edge:a", "https://me:secret@host:6333"], ["Qdrant Edge · a", "https://host:6333"]),
        (["edge:a", "edge:a"], ["Qdrant Edge · a"]),
    ],
)
def test_stores_are_told_apart_by_as_little_as_needed(urls: list[str], names: list[str]) -> None:
    assert list(display_names(urls).values()) == names


def test_text_is_escaped_for_markdown() -> None:
    assert problems.literal("a_b <b> $x$ :red[é]") == r"a\_b \<b\> \$x\$ \:red\[é\]"


def test_a_name_in_the_payload_is_the_heading() -> None:
    named = {"key": "k.png", "label": "cats", "name": "Tom"}
    assert (heading(named), subheading(named)) == ("Tom", "k.png · cats")
    bare = {"key": "k.png", "label": None, "name": np.nan}
    assert (heading(bare), subheading(bare)) == ("k.png", "")
    deep = {"key": "a/b/k.png", "label": "b"}
    assert (heading(deep), subheading(deep)) == ("k.png", "a/b/k.png · b")
    assert heading({"key": "a/"}) == "a/"


@pytest.mark.parametrize("text", ["", "data:text/html;base64,AAAA", "data:image/png;base64,???", None, 7, {"a": 1}])
def test_what_a_browser_sends_as_pasted_may_be_anything(text: object) -> None:
    with pytest.raises(ImageError, match="not an image"):
        _bytes(text, 100)


def test_pasted_bytes_have_a_limit() -> None:
    assert _bytes("data:image/png;base64,aGk=", 100) == b"hi"
    with pytest.raises(ImageError, match="larger than 1 MB"):
        _bytes("data:image/png;base64," + "A" * (3 << 20), 1 << 20)


def test_the_command_line_searches_by_examples_and_filters(run: Program, index: Path, picture: Path) -> None:
    def found(*arguments: object) -> list[dict[str, object]]:
        code, out, _ = run(*arguments, "--store", f"edge:{index}", "--json", "-k", 8)
        assert code == 0
        hits: list[dict[str, object]] = json.loads(out)["hits"]
        return hits

    plain = found(picture)
    first, label = plain[0]["id"], plain[0]["label"]
    assert first not in [hit["id"] for hit in found("--like", first)]
    assert {hit["label"] for hit in found(picture, "--filter", f"label!={label}")} & {label} == set()
    assert {hit["label"] for hit in found(picture, "--filter", f"label={label}", "--ef", 500)} == {label}
    lowest = sorted(float(str(hit["score"])) for hit in plain)[4]
    assert 0 < len(found(picture, "--threshold", lowest)) < 8
    assert [hit["id"] for hit in found(picture, "--diversity", "0.9")] != [hit["id"] for hit in plain]
    assert [hit["id"] for hit in found(picture, "--unlike", plain[1]["id"])] != [hit["id"] for hit in plain]
    assert [(hit["id"], hit["rank"]) for hit in found(picture, "--offset", 3)][:5] == [
        (hit["id"], hit["rank"]) for hit in plain[3:]
    ]
    code, _, err = run("--store", f"edge:{index}")
    assert (code, "PICTURE, or --like" in err) == (2, True)

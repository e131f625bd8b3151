"""The ingest command as its users call it: real files and real stores, and a process each where that matters."""

import io
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from cbir.ingest import command
from cbir.ui.search_command import main as search_main
from PIL import Image
from typer.main import get_command

from cbir.filters.conditions import Match
from cbir.models.embedder import Embedder
from cbir.models.sealed import seal
from cbir.settings import Settings
from cbir.stores.registry import open_store
from tests.support.ingesting import run, some_images, stored, stores
from tests.support.running import run_here


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 24 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 24)


def test_a_folder_is_stored_and_a_second_run_stores_nothing(photos: Path, tmp_path: Path, embedder: Embedder) -> None:
    first = json.loads(run(photos, *stores(tmp_path / "index"), "--json", own_process=True).stdout)
    assert (first["read"], first["stored"], first["skipped"], first["unchanged"]) == (24, 24, 0, 0)
    assert first["images_per_second"] > 0
    assert set(first["seconds"]) >= {"read", "decode", "embed", "store"}
    points = stored(tmp_path / "index")
    assert set(points) == {path.relative_to(photos).as_posix() for path in photos.rglob("*.png")}
    for key, (payload, vector) in points.items():
        expected = embedder.embed([embedder.decode((photos / key).read_bytes(), 40)])[0]
        assert float(vector @ expected) > 0.99999
        assert payload["label"] == Path(key).parent.name
    again = json.loads(run(photos, *stores(tmp_path / "index"), "--json", own_process=True).stdout)
    assert (again["read"], again["stored"], again["unchanged"]) == (24, 0, 24)
    assert not (tmp_path / "index" / again["collection"] / "000002").exists()


def test_only_what_is_new_or_changed_is_embedded(photos: Path, tmp_path: Path) -> None:
    run(photos, *stores(tmp_path / "index"))
    before = stored(tmp_path / "index")
    changed, other = sorted(photos.rglob("*.png"))[:2]
    shutil.copyfile(other, changed)
    shutil.copyfile(other, photos / "new.png")
    summary = json.loads(run(photos, *stores(tmp_path / "index"), "--json").stdout)
    assert (summary["stored"], summary["unchanged"]) == (2, 23)
    after = stored(tmp_path / "index")
    assert set(after) == set(before) | {"new.png"}
    key = changed.relative_to(photos).as_posix()
    assert np.array_equal(after[key][1], after[other.relative_to(photos).as_posix()][1])
    assert all(np.array_equal(before[name][1], after[name][1]) for name in before if name != key)


def spoil(photos: Path) -> dict[str, str]:
    """Put unusable files beside the good ones; return the reason expected for each."""
    good = sorted(photos.rglob("*.png"))[0]
    Image.open(good).convert("RGB").resize((640, 640)).save(photos / "truncated.jpg")
    (photos / "truncated.jpg").write_bytes((photos / "truncated.jpg").read_bytes()[:2000])
    (photos / "text.jpg").write_text("I am no picture")
    (photos / "empty.png").write_bytes(b"")
    Image.new("1", (30000, 30000)).save(photos / "huge.png")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "dangling.jpg").symlink_to("nowhere")
    return {
        "truncated.jpg": "damaged image",
        "text.jpg": "not an image of a known format",
        "empty.png": "empty file",
        "huge.png": "too large: 900 megapixels, the limit is 40",
        "pipe.jpg": "not a regular file",
        "dangling.jpg": "No such file or directory",
    }


def test_bad_files_are_skipped_with_their_reason_and_the_rest_is_stored(photos: Path, tmp_path: Path) -> None:
    reasons = spoil(photos)
    done = run(photos, *stores(tmp_path / "index"), "--json", "--batch-size", 5)
    summary = json.loads(done.stdout)
    assert (summary["read"], summary["stored"], summary["skipped"]) == (30, 24, 6)
    assert {failure["key"] for failure in summary["failures"]} == set(reasons)
    for failure in summary["failures"]:
        assert failure["reason"].startswith(reasons[failure["key"]])
    assert len(stored(tmp_path / "index")) == 24
    text = run(photos, *stores(tmp_path / "index"), "--strict", code=1).stdout
    assert all(name in text for name in reasons)


def test_a_folder_of_nothing_but_bad_files_fails(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("text")
    assert "no image could be stored" in run(tmp_path / "bad", *stores(tmp_path / "index"), code=1).stderr
    assert not (tmp_path / "index" / "bad-efficientnet_lite0" / "current").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["./nowhere"], "./nowhere does not exist"),
        (["photos", "--store", "redis:x"], "unknown store 'redis:x'"),
        (["photos", "--store", "faiss:./x?index=Nonsense"], "FAISS knows no index 'Nonsense'"),
        (["photos", "--model", "nothing"], "no model 'nothing'"),
        (["photos", "--label", "colour"], "--label does not work with a folder"),
        (["photos", "--limit", "0"], "limit"),
        (["photos", "--model", "photos/text.onnx"], "is not a model file of cbir"),
        (["photos", "--collection", "../evil"], "invalid collection name"),
        (["photos", "--collection", ""], "invalid collection name"),
        (["photos", "--store", "edge:i", "--store", "faiss:i/log"], "cannot be an index's name"),
        (["photos", "--store", "edge:i", "--store", "faiss:i/model.onnx"], "cannot be an index's name"),
        (["photos", "--store", "faiss:i?index=HNSW0"], "the number behind HNSW is 2 to 512"),
        (["photos", "--store", "faiss:i?index=IVF0,Flat"], "the number behind IVF is 1 to"),
        (["verify", "--store", "edge:./none"], "no collection yet"),
    ],
)
def test_misuse_is_one_line_and_changes_nothing(
    photos: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (photos / "text.onnx").write_text("no model")
    done = run(*arguments, code=2)
    assert message in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"photos"}


def test_another_model_gets_a_collection_of_its_own_and_readers_switch_when_it_is_complete(
    photos: Path, tmp_path: Path, model_file: Path
) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(seal(model_file.read_bytes().replace(b"torch", b"tarch")))
    assert other.read_bytes() != model_file.read_bytes()
    first = json.loads(run(photos, *stores(tmp_path / "index"), "--json").stdout)["collection"]
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "index").rglob("*") if path.name != "lock")
    refused = run(photos, *stores(tmp_path / "index"), "--model", other, "--collection", first, code=2).stderr
    assert "was made with the model efficientnet_lite0" in refused
    assert len(refused.strip().splitlines()) == 1
    after = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "index").rglob("*") if path.name != "lock")
    assert after == before
    second = json.loads(run(photos, *stores(tmp_path / "index"), "--model", other, "--json").stdout)["collection"]
    assert second.startswith(f"{first}-")
    store = open_store(f"edge:{tmp_path}/index", "photos", Settings())
    assert store.info.collection == second
    store.close()
    assert json.loads(run(photos, *stores(tmp_path / "index"), "--model", other, "--json").stdout)["unchanged"] == 24
    run("collections", "use", first, "--store", f"edge:{tmp_path}/index")
    listed = json.loads(run("collections", "--json", "--store", f"edge:{tmp_path}/index").stdout)
    assert [(one["collection"], one["alias"], one["points"]) for one in listed] == [
        (first, "photos", 24),
        (second, "", 24),
    ]


def test_two_folders_of_one_name_do_not_mix(photos: Path, tmp_path: Path) -> None:
    run(photos, *stores(tmp_path / "index"))
    other = tmp_path / "elsewhere" / "photos"
    shutil.copytree(photos, other)
    assert "was filled from" in run(other, *stores(tmp_path / "index"), code=2).stderr
    moved = json.loads(run(other, *stores(tmp_path / "index"), "--dataset", "photos", "--json").stdout)
    assert moved["unchanged"] == 24


def test_verify_names_a_flipped_file_and_it_is_not_served(photos: Path, tmp_path: Path) -> None:
    run(photos, *stores(tmp_path / "index"))
    assert "no damage" in run("verify", *stores(tmp_path / "index")).stderr
    path = next((tmp_path / "index").rglob("index.faiss"))
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    done = run("verify", *stores(tmp_path / "index"), code=1)
    assert str(path) in done.stdout
    with pytest.raises(Exception, match="index.faiss"):
        open_store(f"faiss:{tmp_path}/index/faiss", None, Settings())
    open_store(f"edge:{tmp_path}/index", None, Settings()).close()


def test_a_label_or_column_given_later_is_stored(tmp_path: Path) -> None:
    picture = {"bytes": next_png(), "path": "a.png"}
    data = datasets.Dataset.from_dict({"image": [picture], "kind": ["cat"]})
    data.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / "x.parquet"))
    run("x.parquet", *stores(tmp_path / "index"))
    again = json.loads(run("x.parquet", "--label", "kind", *stores(tmp_path / "index"), "--json").stdout)
    assert (again["stored"], again["unchanged"]) == (1, 0)
    assert stored(tmp_path / "index")["a.png"][0]["label"] == "cat"
    assert json.loads(run("x.parquet", "--label", "kind", *stores(tmp_path / "index"), "--json").stdout)["stored"] == 0


def next_png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_odd_names_are_stored_and_printed_without_harm(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"caf\xe9.png", b"new\nline.png", b"\x1b[31mred.png", "фото.png".encode(), b"a" * 240 + b".png"]
    for name in names:
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(next_png())
    (folder / "\x1b[31mbad.png").write_text("text")
    done = run(folder, *stores(tmp_path / "index"), own_process=True)
    assert "\x1b" not in done.stdout
    assert len(stored(tmp_path / "index")) == len(names)
    assert json.loads(run(folder, *stores(tmp_path / "index"), "--json").stdout)["unchanged"] == len(names)


def test_an_interrupted_run_can_be_finished_with_fewer_engines(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "index"
    run(photos, *stores(root), "--store", f"faiss:{root}/lists?index=IVF512,Flat", code=2)
    summary = json.loads(run(photos, *stores(root), "--json").stdout)
    assert (summary["resumed"], summary["stored"], summary["unchanged"]) == (24, 0, 24)
    assert len(stored(root)) == 24


def test_a_damaged_index_is_built_again_from_the_log(photos: Path, tmp_path: Path) -> None:
    run(photos, *stores(tmp_path / "index"))
    path = next((tmp_path / "index").rglob("index.faiss"))
    path.write_bytes(path.read_bytes()[:-100])
    assert json.loads(run(photos, *stores(tmp_path / "index"), "--json").stdout)["stored"] == 0
    assert len(stored(tmp_path / "index")) == 24
    run("verify", *stores(tmp_path / "index"))


def test_what_is_gone_from_the_source_is_counted(photos: Path, tmp_path: Path) -> None:
    run(photos, *stores(tmp_path / "index"))
    next(photos.rglob("*.png")).unlink()
    assert json.loads(run(photos, *stores(tmp_path / "index"), "--json").stdout)["missing"] == 1
    assert json.loads(run(photos, *stores(tmp_path / "index"), "--limit", 3, "--json").stdout)["missing"] == 0


def test_the_model_of_a_collection_does_not_change_with_the_users_file(
    photos: Path, tmp_path: Path, model_file: Path
) -> None:
    own = tmp_path / "own.onnx"
    shutil.copyfile(model_file, own)
    run(photos, *stores(tmp_path / "index"), "--model", own)
    own.write_bytes(b"changed")
    run("verify", *stores(tmp_path / "index"))


def test_vectors_of_another_collection_are_copied_if_asked(photos: Path, tmp_path: Path) -> None:
    store = ["--store", f"faiss:{tmp_path}/index?index=Flat", "--json"]
    run(photos, *store)
    for options, reused in (([], 0), (["--reuse"], 24)):
        report = json.loads(run(photos, *store, *options, "--collection", f"c{reused}").stdout)
        assert (report["stored"], report["reused"]) == (24, reused)


def test_a_renamed_image_is_listed(photos: Path, tmp_path: Path) -> None:
    run("sync", photos, *stores(tmp_path / "index"))
    before = sorted(photos.rglob("*.png"))[0]
    before.rename(photos / "new.png")
    for options in (["--dry-run"], []):
        shown = run("sync", photos, *stores(tmp_path / "index"), *options).stdout
        assert f"renamed {before.relative_to(photos)} to new.png" in shown


def test_copies_that_are_left_out_are_no_failure(photos: Path, tmp_path: Path) -> None:
    run(photos, *stores(tmp_path / "index"), "--dataset", "all")
    copies = tmp_path / "copies"
    shutil.copytree(photos, copies / "again")
    assert "of other images" in run(copies, *stores(tmp_path / "index"), "--dataset", "all", "--skip-duplicates").stdout


def test_a_filter_that_no_row_matches_is_a_warning(photos: Path, tmp_path: Path) -> None:
    path = sorted(photos.rglob("*.png"))[0]
    (tmp_path / "list.csv").write_text(f"file_name,colour\n{path},red\n")
    found = run(tmp_path / "list.csv", *stores(tmp_path / "index"), "--filter", "colour=rde")
    assert "warning: the options choose no image of" in found.stderr


def test_sync_of_a_part_of_a_source_is_refused(photos: Path) -> None:
    assert "`sync` needs the whole source" in run("sync", photos, "--limit", 3, code=2).stderr
    assert "--watch works with sync only" in run(photos, "--watch", code=2).stderr
    assert "--max-delete works with sync only" in run(photos, "--max-delete", "30%", code=2).stderr
    assert "Invalid share: '30'. Use a percentage" in run("sync", photos, "--max-delete", "30", code=2).stderr


def test_only_the_named_fields_of_a_wide_table_are_indexed(photos: Path, tmp_path: Path) -> None:
    values = {f"c{column}": column for column in range(200)}
    rows = [{"file_name": str(path), **values} for path in sorted(photos.rglob("*.png"))[:2]]
    (photos / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run(photos / "list.jsonl", "--store", f"edge:{tmp_path}/index", "--index-field", "c7", "--index-field", "c150")
    with closing(open_store(f"edge:{tmp_path}/index", None, Settings())) as store:
        assert store.info.options["index_field"] == "c7,c150"
        for field in ("c7", "c8"):
            filter = (Match(field, (int(field[1:]),)),)
            assert len(store.search(store.matrix()[1][:1], 5, filter=filter)[0]) == 2


def test_a_sync_of_a_folder_without_most_images_is_refused_unless_allowed(photos: Path, tmp_path: Path) -> None:
    sync = ("sync", photos, *stores(tmp_path / "index"))
    run(*sync)
    for path in sorted(photos.rglob("*.png"))[12:]:
        path.unlink()
    refused = run(*sync, code=2).stderr
    assert "would remove 12 of 24 points" in refused
    assert "--max-delete 50%" in refused
    assert "removed 12" in " ".join(run(*sync, "--dry-run").stdout.split())
    assert len(stored(tmp_path / "index")) == 24
    assert json.loads(run(*sync, "--max-delete", "50%", "--json").stdout)["removed"] == 12
    assert len(stored(tmp_path / "index")) == 12


def commands(group: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words and the click command of every command at or below a group."""
    for name, inner in group.commands.items():
        if hasattr(inner, "commands"):
            yield from commands(inner, *words, name)
        else:
            yield (*words, name), inner


COMMANDS = dict(commands(get_command(command.app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_help_has_an_example_that_is_accepted(words: tuple[str, ...]) -> None:
    shown = run(*words, "--help").stdout
    example = COMMANDS[words].epilog
    assert example.startswith("Example: cbir-ingest ")
    assert "Example: cbir-ingest" in shown
    given = shlex.split(example.removeprefix("Example: cbir-ingest "))
    group = get_command(command.app)
    context = group.make_context("cbir-ingest", given, resilient_parsing=True)
    name, inner, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    while hasattr(inner, "commands"):
        context = inner.make_context(name, rest, parent=context, resilient_parsing=True)
        name, inner, rest = inner.resolve_command(context, [*context._protected_args, *context.args])
    inner.make_context(name, rest, parent=context).close()
    assert inner is COMMANDS[words] or inner.name == COMMANDS[words].name


def test_the_options_are_in_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = run("--help").stdout
    for panel in ("Fill a collection", "Change a collection", "Inspect and check", "Source", "Speed", "Storing"):
        assert f"\u2500 {panel} \u2500" in shown
    assert "--where" not in shown, "an old name is hidden"


@pytest.mark.parametrize("words", [["failures"], ["duplicates"], ["verify"], ["collections", "list"]])
def test_commands_that_read_say_so(words: list[str]) -> None:
    assert "Store to read" in run(*words, "--help").stdout
    assert "Store to write" in run("add", "--help").stdout


def test_collections_are_listed_without_a_word_more(index: Path) -> None:
    assert run("collections").stdout.startswith("No collections yet. Create one with: cbir-ingest")
    line = run("collections", "--store", f"edge:{index}").stdout.splitlines()[1]
    assert line.split()[:4] == ["photos-efficientnet_lite0", "photos", "efficientnet_lite0", "317"]


def test_the_old_name_of_the_filter_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(next_png())
    (tmp_path / "rows.csv").write_text("path,year\na.png,2015\na.png,2016\n")
    for name in ("--where", "--filter"):
        report = json.loads(run("rows.csv", name, "year>2015", *stores(tmp_path / name), "--json").stdout)
        assert (report["read"], report["stored"]) == (1, 1)


def test_the_summary_ends_with_a_search_that_works(photos: Path, tmp_path: Path) -> None:
    *_, search, page = run(photos, *stores(tmp_path / "index")).stdout.splitlines()
    words = shlex.split(search)
    assert words[:2] == ["cbir-search", "--like"]
    assert page.split() == ["cbir-ui", *stores(tmp_path / "index")]
    assert run_here(search_main, *words).stdout.splitlines()[1].startswith("1 ")

"""Generations: what is published stays as it is, and what is damaged is named and not served."""

import json
import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cbir.errors import CbirError, DamageError, UsageError
from cbir.index import layout
from cbir.index.generation import Pointer, open_generation
from cbir.index.json_file import save
from cbir.index.layout import BUILDING, PLAN, POINTER
from cbir.index.names import MARKER
from cbir.models.sealed import find_model
from cbir.progress import silent
from cbir.settings import Settings
from cbir.stores.embedded.writer import LocalWriter
from cbir.stores.registry import connect, open_store
from cbir.stores.url import locate, parse
from tests.support.building import MODEL, both, build, builder_for, merge, plan_for, points_of, unit_vectors
from tests.support.damaged_index import DAMAGES, answers, examined, verify_folder
from tests.support.made_index import VECTORS, copy_index


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "index"
    build(both(folder), VECTORS)
    return folder


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """An index that the test may do with as it likes."""
    return copy_index(built, tmp_path / "index")


@pytest.mark.parametrize("how", DAMAGES)
def test_every_damaged_file_is_named_and_never_served(root: Path, tmp_path: Path, how: str) -> None:
    build(both(root), unit_vectors(310, seed=4)[:5], version="2")
    merge(root)  # a segment that has only replacements
    shutil.rmtree(root / "made" / "000001")
    build(both(root), unit_vectors(310, seed=3)[290:], version="3")  # a tail
    good = answers(root)
    assert examined(root, "whole") == ("", good)
    files = [
        path
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("lock") and "views" not in path.parts
    ]
    assert {MARKER, "current", "manifest.json", "model.onnx", "index.faiss", "000002.log", "000003.log"} < {
        path.name for path in files
    }
    for path in files:
        if path.stat().st_size == 0 or (how == "zeroed" and not any(path.read_bytes())):
            continue
        if path.name == PLAN and how == "deleted":  # an index of an older version has none
            continue
        kept = tmp_path / "kept"
        shutil.copyfile(path, kept)
        DAMAGES[how](path)
        damage, now = examined(root, f"{how} {path}")
        assert path.name in damage, f"{how} {path} is not named"
        if path.name not in (MARKER, PLAN):
            assert all(found in (DamageError, UsageError, was) for found, was in zip(now, good, strict=True)), path
        shutil.copyfile(kept, path)
    assert answers(root) == good


def test_a_file_that_does_not_belong_is_named(root: Path) -> None:
    stray = root / "made" / "000001" / "edge" / "stray"
    stray.write_text("x")
    assert [damage.path for damage in verify_folder(root, "made")] == [stray]


def test_a_pointer_out_of_the_folder_is_damaged(root: Path) -> None:
    pointer = Pointer("../made/000001", json.loads((root / "made" / POINTER).read_text())["manifest_sha256"])
    save(root / "made" / POINTER, pointer)
    with pytest.raises(DamageError, match="not written by cbir"):
        open_generation(root, "made")


def test_reading_changes_nothing(root: Path) -> None:
    for _ in range(2):
        answers(root)
    assert verify_folder(root) == []


def test_nothing_is_seen_of_a_generation_before_it_is_published(root: Path) -> None:
    builder = builder_for(both(root), VECTORS)
    builder.write(points_of(unit_vectors(300, seed=1), version="2"))
    before = answers(root)
    catalog = connect(both(root)[0], Settings())
    version = catalog.version("made")
    assert open_generation(root, "made").commit == 1
    assert catalog.version("made") == version
    builder.publish(silent)
    builder.close()
    assert open_generation(root, "made").commit == 2
    assert catalog.version("made") != version
    assert answers(root) != before


PUBLISHING, MAKING = "cbir.index.publishing", "cbir.stores.embedded.making"
STEPS = {
    "write": "",
    "link": f"{PUBLISHING}.link",
    "sync": f"{PUBLISHING}.sync",
    "save": f"{PUBLISHING}.save",
    "remove": f"{PUBLISHING}._remove_segments",
}
STEPS_OF_A_GENERATION = {
    "write": "",
    "build_engine": f"{MAKING}.build_engine",
    "save": f"{PUBLISHING}.save",
    "rename": "pathlib.Path.rename",
    "point_to": f"{PUBLISHING}._point_to",
    "remove_leftovers": f"{MAKING}.remove_leftovers",
}


@pytest.mark.parametrize(
    ("step", "other"),
    [*((step, "") for step in STEPS), *((step, "flat") for step in STEPS_OF_A_GENERATION)],
)
def test_a_crash_at_any_step_loses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, step: str, other: str) -> None:
    """The process dies (here: an exception nobody handles) at each step of publishing; a second run goes on.

    With another index, a generation is made.
    """
    more = np.concatenate([VECTORS, unit_vectors(50, seed=2)])
    before = answers(root)
    urls = [*both(root), *([f"faiss:{root}/{other}?index=Flat"] if other else [])]
    place = (STEPS_OF_A_GENERATION if other else STEPS)[step]

    class Crash(BaseException):
        pass

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        builder = builder_for(urls, more)
        builder.write(points_of(more)[300:])
        if place:
            patch.setattr(place, crash)
        with pytest.raises(Crash):
            if step == "write":
                raise Crash
            builder.publish(silent)
        builder._lock.close()  # the system does this for a process that died
        if builder._writer is not None:
            builder._writer._file.close()
    published = step in ("remove", "remove_leftovers")
    if not published:
        assert answers(root) == before
    again = builder_for(urls, more)
    assert again.resumed == (0 if published or step == "point_to" else 50)
    assert len(again.stored_ids) == 350
    if again.needs_publishing:
        again.publish(silent)
    again.close()
    builder_for(urls, more).close()
    left = {path.name for path in (root / "made").iterdir()}
    assert not left & {BUILDING, layout.MAKING, layout.MERGING}
    assert verify_folder(root) == []
    store = open_store(both(root)[0], "made", Settings())
    ids, vectors = store.matrix()
    store.close()
    expected = {point.id: point.vector for point in points_of(more)}
    assert set(ids) == set(expected)
    assert np.array_equal(vectors, [expected[identity] for identity in ids])


def test_a_second_ingest_into_one_collection_is_refused(root: Path) -> None:
    builder = builder_for(both(root), VECTORS)
    with pytest.raises(CbirError, match="another ingest is filling"):
        builder_for(both(root), VECTORS)
    builder.close()
    builder_for(both(root), VECTORS).close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": replace(MODEL, name="other", sha256="1" * 64)}, "made with the model made-up .* not with other"),
        ({"source": "elsewhere"}, "filled from nowhere, not from elsewhere"),
        ({"dataset": "other"}, "holds the data set set, not other"),
    ],
)
def test_another_model_or_source_is_refused_and_nothing_changes(root: Path, change: dict, message: str) -> None:
    before = answers(root)
    plan = replace(plan_for(VECTORS), **change)
    with pytest.raises(UsageError, match=message):
        LocalWriter(root, locate([parse(f"edge:{root}")]), plan, find_model("efficientnet_lite0"), same_source=False)
    assert answers(root) == before
    builder_for(both(root), VECTORS).close()


def test_an_index_is_added_without_embedding_again(root: Path) -> None:
    builder = builder_for([f"faiss:{root}/flat?index=Flat"], VECTORS)
    assert builder.needs_publishing
    builder.publish(silent)
    builder.close()
    generation = open_generation(root, "made")
    assert {name: engine.kind for name, engine in generation.manifest.engines.items()} == {
        "edge": "edge",
        "faiss": "faiss",
        "flat": "faiss",
    }
    store = open_store(f"faiss:{root}/flat", "made", Settings())
    assert store.info.access == "scan"
    assert store.info.options["index"] == "Flat"
    store.close()


def test_an_empty_collection_answers_nothing(tmp_path: Path) -> None:
    build(both(tmp_path), VECTORS[:0].reshape(0, VECTORS.shape[1]))
    assert answers_of(tmp_path) == [[[], []], [[], []]]


def answers_of(root: Path) -> list[object]:
    found: list[object] = []
    for url in both(root):
        store = open_store(url, "made", Settings())
        found.append(store.search(VECTORS[:2], 3))
        store.close()
    return found


def test_nothing_new_publishes_nothing(root: Path) -> None:
    builder = builder_for(both(root), VECTORS)
    assert not builder.needs_publishing
    builder.close()


def hold_open(root: Path, opened: "multiprocessing.synchronize.Event") -> None:
    store = open_store(f"edge:{root}", "made", Settings())
    store.search(VECTORS[:1], 1)
    opened.set()
    multiprocessing.Event().wait(60)


def test_the_view_of_a_reader_that_was_killed_is_removed(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    opened = context.Event()
    reader = context.Process(target=hold_open, args=(root, opened))
    reader.start()
    assert opened.wait(60)
    reader.kill()
    reader.join()
    views = root / "made" / "views"
    assert list(views.iterdir())
    open_store(f"edge:{root}", "made", Settings()).close()
    assert list(views.iterdir()) == []

"""What an earlier version wrote is still opened, continued and understood: index, model file, snapshot.

The files in `tests/fixtures` were written by the programs of the commit in their names:

- `tiny-*.onnx`: a sealed model of 16 dimensions, random weights, and a card with every field filled in (made up).
- `index-*.tar.xz`: `photos/` with 24 images, a broken one and `list.jsonl`; `index/` with two collections in Edge and
  FAISS; `shop.tar`, a snapshot. `shop` was made from the list, `cbir-ingest sync` removed an image that the list had no
  more, `cbir-ingest update season=Winter color=null --filter label=blue` changed some. `unfinished` was made from the
  folder: six images were published (`--limit 6`), then the run over all was killed (SIGKILL) when it began its sixth
  batch. `ingest_words` has the options. Packed with `tar --sparse`, since Edge's files are.
- `expected-*.json`: what `points_of`, `answers_of`, `card_of` and `vectors_of` returned then.
"""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.building import both, store_options
from tests.support.running import run_program

FIXTURES = Path(__file__).parents[1] / "fixtures"
OLD = "7c67b1c"
FILTERS = ("label=red", "year>=2010", "tags=new|sold", "note=", "in_stock=true and price<20", "label!=red")
FACETS = ("label", "season", "in_stock", "tags", "color")


# The only calls into the product. Adapt these when modules move; the expected values stay as they are.
def points_of(url: str, collection: str) -> dict[str, Any]:
    """Return a collection's points by id: payload, SHA-256 of the thumbnail, vector."""
    from cbir.settings import Settings
    from cbir.stores.registry import open_store

    store = open_store(url, collection, Settings())
    points = list(store.points())
    store.close()
    return {
        point.id: {
            "payload": dict(point.payload),
            "thumbnail": hashlib.sha256(point.thumbnail).hexdigest(),
            "vector": [round(float(value), 7) for value in point.vector],
        }
        for point in sorted(points, key=lambda point: point.id)
    }


def answers_of(url: str, collection: str, vectors: Any) -> dict[str, Any]:
    """Return what a store says of a collection: counts, facets, fields and the hits of searches."""
    from cbir.filters.parser import parse_filter
    from cbir.settings import Settings
    from cbir.stores.base import SearchParams
    from cbir.stores.registry import open_store

    exact = SearchParams(exact=True)
    store = open_store(url, collection, Settings())
    queries = np.asarray(vectors, np.float32)
    red = parse_filter("label=red")
    searches = {
        "ordinary": store.search(queries, 5),
        "exact": store.search(queries, 5, params=exact),
        "filtered": store.search(queries, 5, filter=red),
        "above": store.search(queries, 24, params=exact, min_score=0.5),
        "second page": [hits[5:] for hits in store.search(queries, 10, params=exact)],
    }
    answers = {
        "dataset": store.info.dataset,
        "model": store.info.model.name,
        "count": store.info.count,
        "counts": {text: store.count(parse_filter(text)) for text in FILTERS},
        "facets": {name: [list(pair) for pair in store.facet(name)] for name in FACETS},
        "fields": {name: str(kind) for name, kind in store.fields().items()},
        "hits": {
            name: [[[hit.id, hit.key, round(hit.score, 6)] for hit in hits] for hits in found]
            for name, found in searches.items()
        },
    }
    store.close()
    return answers


def vectors_of(model: Path, images: list[bytes]) -> Any:
    """Return the vectors that a model file gives for image files."""
    from cbir.models.embedder import Embedder

    embedder = Embedder(model, threads=1)
    return embedder.embed([embedder.decode(data, 40) for data in images])


def card_of(model: Path) -> dict[str, Any]:
    """Return what a model file says of itself, nested parts too."""
    from cbir.models.embedder import Embedder

    card = Embedder(model, threads=1).card
    assert card.to_torch and card.training
    return {
        "name": card.name,
        "dimension": card.dimension,
        "input": [card.input.size, card.input.resize, card.input.interpolation, card.input.crop],
        "weights": [card.weights, card.random_weights, card.license, card.precision],
        "compared with torch": [card.to_torch.images, card.to_torch.cosine_min],
        "trained": [card.training.kind, card.training.classes, card.training.images, card.training.metrics],
    }


# From here on nothing names a module of the product.
def ingest(folder: Path, collection: str, *more: str) -> dict[str, Any]:
    """Ingest the images that an old collection was made of; return the summary."""
    return json.loads(run_program("cbir-ingest", *ingest_words(folder, collection), "--json", *more))


def ingest_words(folder: Path, collection: str) -> list[str]:
    """Return what `cbir-ingest` was told: `shop` was made from a list, `unfinished` from the folder itself."""
    source = ["photos/list.jsonl", "--label", "kind"] if collection == "shop" else ["photos"]
    options = ["--collection", collection, "--dataset", f"{collection} set", "--model", f"{folder}/tiny.onnx"]
    running = ["--workers", "1", "--batch-size", "2"]
    return [f"{folder}/{source[0]}", *source[1:], *store_options(both(folder / "index")), *options, *running]


def expected() -> dict[str, Any]:
    return json.loads((FIXTURES / f"expected-{OLD}.json").read_text())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder that the earlier version left: photos, index, snapshot; and its model."""
    with tarfile.open(FIXTURES / f"index-{OLD}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    shutil.copyfile(FIXTURES / f"tiny-{OLD}.onnx", tmp_path / "tiny.onnx")
    return tmp_path


def require_points(found: dict[str, Any], wanted: dict[str, Any], rounding: float = 1e-6) -> None:
    """Require the same ids, payloads, thumbnails and, but for rounding, vectors."""
    assert found.keys() == wanted.keys()
    for identity, point in wanted.items():
        assert found[identity]["payload"] == point["payload"]
        assert found[identity]["thumbnail"] == point["thumbnail"]
        np.testing.assert_allclose(found[identity]["vector"], point["vector"], atol=rounding)


def require_answers(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Require the same answers, scores but for rounding."""
    assert {**found, "hits": None} == {**wanted, "hits": None}
    for name, queries in wanted["hits"].items():
        for hits, hits_then in zip(found["hits"][name], queries, strict=True):
            assert [hit[:2] for hit in hits] == [hit[:2] for hit in hits_then], name
            np.testing.assert_allclose([hit[2] for hit in hits], [hit[2] for hit in hits_then], atol=1e-5)


def test_both_engines_of_an_old_index_answer_as_then(old: Path) -> None:
    then = expected()
    assert set(then["answers"]) == {"edge", "faiss"}
    for url in both(old / "index"):
        require_points(points_of(url, "shop"), then["points"])
        require_answers(answers_of(url, "shop", then["queries"]), then["answers"][url.partition(":")[0]])
    run_program("cbir-ingest", "verify", *store_options(both(old / "index")))


def test_an_old_index_goes_on_without_embedding_again(old: Path) -> None:
    then = expected()
    assert then["failed"] == 1, "the broken image is one of the list"
    summary = ingest(old, "shop")
    counts = [summary[name] for name in ("read", "stored", "changed", "unchanged", "skipped", "missing")]
    assert counts == [25, 0, 0, 24, 1, 0]
    Image.new("RGB", (40, 30), (250, 180, 0)).save(old / "photos" / "red" / "added.png")
    with (old / "photos" / "list.jsonl").open("a") as rows:
        rows.write(json.dumps({"path": "red/added.png", "kind": "red", "year": 2026}) + "\n")
    summary = ingest(old, "shop")
    assert [summary[name] for name in ("stored", "changed", "unchanged", "skipped")] == [1, 0, 24, 1]
    for url in both(old / "index"):
        points = points_of(url, "shop")
        (added,) = points.keys() - then["points"].keys()
        assert points.pop(added)["payload"]["key"] == "red/added.png"
        require_points(points, then["points"])
    where = [*store_options(both(old / "index")), "--collection", "shop"]
    failures = json.loads(run_program("cbir-ingest", "failures", *where, "--json"))
    assert [failure["key"] for failure in failures] == ["red/broken.png"]


def test_an_old_run_that_was_killed_goes_on(old: Path) -> None:
    then = expected()["unfinished"]
    assert (old / "index" / "unfinished" / "building").is_dir()
    assert 0 < then["published"] < then["embedded"] < len(then["points"])
    for url in both(old / "index"):  # what was published before is served meanwhile
        assert len(points_of(url, "unfinished")) == then["published"]
    summary = ingest(old, "unfinished")
    assert (summary["unchanged"], summary["stored"]) == (then["embedded"], len(then["points"]) - then["embedded"])
    for url in both(old / "index"):
        require_points(points_of(url, "unfinished"), then["points"], rounding=1e-3)  # of pixels, in the new vectors
    assert not (old / "index" / "unfinished" / "building").exists()
    run_program("cbir-ingest", "verify", *store_options(both(old / "index")))


def test_an_old_snapshot_is_restored(old: Path) -> None:
    url = f"edge:{old}/restored"
    run_program("cbir-ingest", "collections", "restore", old / "shop.tar", "--store", url)
    require_points(points_of(url, "shop"), expected()["points"])


def test_an_old_model_file_says_and_gives_what_it_did(old: Path) -> None:
    images = expected()["images"]
    assert card_of(old / "tiny.onnx") == expected()["card"]
    assert len(images) == 2
    vectors = vectors_of(old / "tiny.onnx", [(old / "photos" / key).read_bytes() for key in images])
    np.testing.assert_allclose(vectors, list(images.values()), atol=1e-3)  # Pillow may resize by other roundings
    assert abs(vectors[0] - vectors[1]).max() > 0.1

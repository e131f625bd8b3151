"""`cbir-ingest collections`: listed, chosen, dropped and repaired."""

import json
from pathlib import Path

import pytest

from cbir.errors import CbirError, UsageError
from cbir.settings import Settings
from cbir.stores.registry import connect
from tests.support.building import MODEL_FILE, both, build, builder_for, points_of
from tests.support.damaged_index import flip
from tests.support.ingesting import run
from tests.support.made_index import VECTORS, listed, opened


def test_a_collection_is_dropped_chosen_and_listed(root: Path) -> None:
    build(both(root), VECTORS[:50], "newer")
    assert [(one.collection, one.alias, one.points) for one in listed(root)] == [
        ("newer", "set", 50),
        ("made", "", 300),
    ]
    store = opened(root, "set")
    assert store.info.collection == "newer"
    store.close()
    catalog = connect(f"edge:{root}", Settings())
    catalog.use("made")
    store = opened(root, "set")
    assert store.info.collection == "made"
    store.close()
    builder = builder_for(both(root), VECTORS[:50], "newer")
    with pytest.raises(CbirError, match="another ingest is filling"):
        catalog.drop("newer")
    builder.write(points_of(VECTORS)[50:60])
    builder.close()
    states = {
        one["collection"]: one["state"]
        for one in json.loads(run("collections", "--store", f"edge:{root}", "--json").stdout)
    }
    assert "an unfinished run" in states["newer"]
    assert "Confirm with --yes" in run("collections", "drop", "newer", "--store", f"edge:{root}", code=2).stderr
    catalog.drop("newer")
    assert [one.collection for one in listed(root)] == ["made"]
    with pytest.raises(UsageError, match="has no collection 'newer'"):
        catalog.drop("newer")
    with pytest.raises(UsageError, match="invalid collection name"):
        catalog.drop("../index")


def test_a_damaged_model_is_repaired_from_a_given_file(root: Path) -> None:
    model, store = root / "made" / "000001" / "model.onnx", f"edge:{root}"
    flip(model)
    failed = run("collections", "repair", "made", "--store", store, code=1)
    assert failed.stdout == "made: the log has 300 points\n"
    assert "no unchanged file of the model made-up" in failed.stderr
    assert "is not the model" in run("collections", "repair", "made", "--store", store, "--model", model, code=2).stderr
    done = run("collections", "repair", "made", "--store", store, "--model", MODEL_FILE)
    assert f"the model was taken from {MODEL_FILE}" in done.stdout
    assert run("verify", "--store", store).stdout == ""
    assert "made: nothing is damaged" in run("collections", "repair", "made", "--store", store).stdout
    assert "no collection other" in run("collections", "repair", "other", "--store", store, code=2).stderr
    assert (
        "embedded indexes only" in run("collections", "repair", "made", "--store", "http://localhost:1", code=2).stderr
    )

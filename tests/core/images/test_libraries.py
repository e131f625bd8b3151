"""A collection that other libraries filled gets one warning, and an older one none."""

import json
import logging
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import cbir
from cbir.images.libraries import LIBRARIES, warn_of_others
from cbir.images.resize import fast
from cbir.index.generation import Manifest, Plan, open_generation
from cbir.index.json_file import load, save
from cbir.models.card import ModelRef
from cbir.models.embedder import Embedder
from cbir.progress import silent
from cbir.stores.embedded.writer import LocalWriter
from cbir.stores.url import locate, parse
from tests.support.building import MODEL_FILE, both, plan_for, points_of, unit_vectors

USED = "pillow 13.0.0, cykooz-resizer 4.0.1"


def warnings_of(caplog: pytest.LogCaptureFixture, name: str, recorded: str, used: str = USED) -> list[str]:
    warn_of_others.cache_clear()
    caplog.clear()
    warn_of_others(name, recorded, used)
    warn_of_others(name, recorded, used)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("recorded", ["pillow 12.3.0, cykooz-resizer 4.0.1", "pillow 13.0.0", "other 13.0.0"])
def test_other_libraries_are_named_once(recorded: str, caplog: pytest.LogCaptureFixture) -> None:
    (line,) = warnings_of(caplog, "photos", recorded)
    assert line.startswith("warning: ")
    assert "photos" in line
    assert recorded in line
    assert USED in line


@pytest.mark.parametrize("recorded", ["", USED, "pillow 13.1.2, cykooz-resizer 4.2.0"])
def test_the_same_libraries_or_no_record_give_no_warning(recorded: str, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(caplog, "photos", recorded) == []


def test_the_record_names_what_is_used(embedder: Embedder) -> None:
    resizer = f", cykooz-resizer {version('cykooz-resizer')}" if fast else ""
    assert embedder.ref.libraries == LIBRARIES == f"pillow {version('pillow')}{resizer}"


def fill(root: Path, libraries: str, stores: int = 1) -> ModelRef:
    """Write points made with such libraries to the first stores of an index; return what the index says."""
    places = locate([parse(store) for store in both(root)[:stores]])
    plan, vectors = plan_for(unit_vectors(20)), unit_vectors(20)
    plan = replace(plan, model=replace(plan.model, libraries=libraries))
    writer = LocalWriter(places[0].root, places, plan, MODEL_FILE, same_source=False)
    writer.write(points_of(vectors, version=libraries))
    writer.publish(silent)
    writer.close()
    return open_generation(root, "made").manifest.model


def test_an_index_keeps_the_libraries_of_its_first_vectors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_others.cache_clear()
    assert fill(tmp_path, "pillow 12.0.0").libraries == "pillow 12.0.0"
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        assert fill(tmp_path, "pillow 13.0.0", stores=2).libraries == "pillow 12.0.0"  # in a new generation
    assert caplog.text.count("may differ") == 1


@pytest.mark.parametrize("kind", [Plan, Manifest])
def test_records_of_other_versions_are_read(kind: type, tmp_path: Path) -> None:
    """Those of older versions name no libraries, and those of newer ones may have fields that are unknown here."""
    fill(tmp_path, "pillow 12.0.0")
    folder = open_generation(tmp_path, "made").folder
    content = load(folder / "manifest.json" if kind is Manifest else folder.parent / "building.json", kind)
    fields = json.loads(TypeAdapter(kind).dump_json(content))
    del fields["model"]["libraries"]
    fields["model"]["unknown"] = fields["unknown"] = 1
    (tmp_path / "other.json").write_text(json.dumps(fields))
    assert load(tmp_path / "other.json", kind) == replace(content, model=replace(content.model, libraries=""))
    save(tmp_path / "other.json", content)
    assert load(tmp_path / "other.json", kind).model.libraries == "pillow 12.0.0"


def test_a_query_with_other_libraries_warns_once(
    index: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_others.cache_clear()
    with cbir.open(f"edge:{index}") as photos:
        photos.embedder  # noqa: B018
        assert "may differ" not in caplog.text
        model = replace(photos.info.model, libraries="pillow 1.0.0")
        info = replace(photos.info, model=model)
        monkeypatch.setattr(type(photos._handle), "opened", lambda self: info)
        photos.embedder, photos.embedder  # noqa: B018
        assert caplog.text.count("may differ") == 1

"""Points removed from an index, and indexes that cannot be built."""

from pathlib import Path

import pytest

from cbir.errors import DamageError, UsageError
from cbir.index import layout
from cbir.index.generation import open_generation
from cbir.progress import silent
from cbir.stores.embedded.writer import LocalWriter
from cbir.stores.url import locate, parse
from tests.support.building import MODEL_FILE, both, build, builder_for, plan_for, points_of
from tests.support.damaged_index import DAMAGES, flip, verify_folder
from tests.support.made_index import VECTORS, everything, opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An index of made-up points in Edge and FAISS."""
    build(both(tmp_path / "index"), VECTORS)
    return tmp_path / "index"


def test_a_deleted_point_is_found_by_no_index(root: Path) -> None:
    builder = builder_for(both(root), VECTORS)
    gone = [point.id for point in points_of(VECTORS)[::3]]
    builder.delete(gone)
    builder.publish(silent)
    builder.close()
    for kind in ("edge", "faiss"):
        store = opened(root, kind=kind)
        assert store.info.count == 200
        found = {hit.id for hits in store.search(VECTORS, 10) for hit in hits}
        assert not found & set(gone)
        assert store.vectors([gone[0]]) == [None]
        store.close()
    builder = builder_for(both(root), VECTORS)
    builder.write(points_of(VECTORS, version="3"))  # more dead rows than living ones now: written anew
    builder.publish(silent)
    builder.close()
    assert len(list((root / "made" / open_generation(root, "made").folder.name / "log").iterdir())) == 1
    assert len(everything(root, "made")) == 300
    assert verify_folder(root) == []


@pytest.mark.parametrize("url", ["faiss:{}?index=Nonsense7", "edge:{}?ef_construct=2"])
def test_an_index_that_cannot_be_built_is_refused_before_anything_is_made(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        builder_for([url.format(tmp_path / "index")], VECTORS)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("how", ["flipped", "deleted"])
def test_a_damaged_model_is_never_published_again(root: Path, how: str) -> None:
    DAMAGES[how](root / "made" / "000001" / layout.MODEL)
    places = locate([parse(url) for url in both(root)])
    writer = LocalWriter(root, places, plan_for(VECTORS), root / "made" / "000001" / layout.MODEL, same_source=False)
    assert writer.needs_publishing
    with pytest.raises(DamageError, match="no undamaged file of the model made-up .*collections repair made"):
        writer.write(points_of(VECTORS[:1], version="2"))
    writer.close()
    builder = builder_for(both(root), VECTORS)
    builder.write(points_of(VECTORS[:1], version="2"))
    builder.publish(silent)
    builder.close()
    assert verify_folder(root) == []
    assert (root / "made" / "000002" / layout.MODEL).read_bytes() == MODEL_FILE.read_bytes()


def test_a_model_that_is_damaged_during_the_run_is_replaced(root: Path) -> None:
    builder = builder_for(both(root), VECTORS)
    builder.write(points_of(VECTORS[:1], version="2"))
    flip(root / "made" / "building" / layout.MODEL)
    builder.publish(silent)
    builder.close()
    assert verify_folder(root) == []
    assert (root / "made" / "000002" / layout.MODEL).read_bytes() == MODEL_FILE.read_bytes()

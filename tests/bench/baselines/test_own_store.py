"""A store of cbir as a candidate."""

import json
from pathlib import Path

import pytest
from cbir.bench.baselines.own_store import LIBRARIES
from cbir.bench.core.workload import open_stores, without_held_out

from cbir.settings import Settings
from tests.support.bench_stores import COUNT
from tests.support.building import both


@pytest.mark.parametrize("number", [0, 1])
def test_it_is_built_without_the_held_out_points_and_finds_added_ones(number: int, made: Path, tmp_path: Path) -> None:
    url = both(made)[number]
    with open_stores([url], "made", Settings()) as stores:
        workload, added = without_held_out(stores, 5, 40, 30, 1)
    truth = workload.truth
    (tmp_path / "ids.json").write_text(json.dumps(list(truth.position)))
    target = both(tmp_path / "index")[number]
    job = {"url": url, "collection": "made", "target": target, "data": str(tmp_path)}
    library = LIBRARIES["cbir"]
    library.prepare(job)
    library.build(truth.vectors, job)
    index = library.open(job)
    index.use(600)
    assert index.search(workload.vectors, 5) == truth.nearest.tolist()
    index.add(added[:10])
    index.add(added[10:])
    assert [hits[0] for hits in index.search(added, 5)] == list(range(COUNT - 70, COUNT - 40))
    opened = index._collection  # type: ignore[attr-defined]
    assert opened.count() == COUNT - 40
    first = opened.store.payloads([next(iter(truth.position))])[0]
    assert first and first["kind"], "the payloads of the collection"
    opened.close()

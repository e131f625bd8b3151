"""What is searched for: no query is a stored point."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench.core import queries as queries_module
from cbir.bench.core.queries import from_source, near_points

import cbir
from cbir.errors import UsageError
from cbir.settings import Settings
from tests.bench.conftest import IMAGES
from tests.support.bench_stores import VECTORS
from tests.support.building import both, unit_vectors
from tests.support.running import Program

IDS = [f"{number:04d}" for number in range(len(VECTORS))]


def test_queries_lie_near_points_and_are_none() -> None:
    queries = near_points(IDS, VECTORS, 50, 1)
    assert queries.vectors.shape == (50, VECTORS.shape[1]) and queries.vectors.dtype == np.float32
    assert np.linalg.norm(queries.vectors, axis=1) == pytest.approx(1)
    assert (queries.vectors @ VECTORS.T).max() < 1 - 1e-5
    assert len(queries.names) == 50 and set(queries.names) <= set(IDS)


def test_a_query_is_no_copy_of_a_point_that_is_there_several_times() -> None:
    vectors = np.repeat(VECTORS[:100], 6, axis=0)
    queries = near_points(IDS, vectors, 200, 1)
    assert len(queries.names) == 200 and (queries.vectors @ vectors.T).max() < 1 - 1e-5
    with pytest.raises(UsageError, match="copies of each other"):
        near_points(IDS, np.repeat(VECTORS[:1], len(IDS), axis=0), 5, 1)


def test_queries_do_not_depend_on_the_order_of_the_points() -> None:
    order = np.random.default_rng(0).permutation(len(IDS))
    first, second = near_points(IDS, VECTORS, 20, 1), near_points([IDS[i] for i in order], VECTORS[order], 20, 1)
    assert first.names == second.names
    assert first.vectors == pytest.approx(second.vectors, abs=1e-6)


def test_images_of_a_source_are_queries_unless_they_are_stored(index: Path, folder: Path) -> None:
    with cbir.open(both(index)[0]) as photos:
        info = photos.info
    others = unit_vectors(50, dimension=info.model.dimension)
    every = from_source(str(folder), info, others, 100, 1, Settings())
    assert len(every.names) == IMAGES and "that are not stored" in every.origin
    assert np.linalg.norm(every.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert from_source(str(folder), info, others, 5, 1, Settings()).names == every.names[:5]
    assert from_source(str(folder), info, others, 5, 2, Settings()).names != every.names[:5]
    rest = from_source(str(folder), info, every.vectors[:30], 100, 1, Settings())
    assert rest.names == every.names[30:]
    with pytest.raises(UsageError, match="none of its images can be used, or all are stored"):
        from_source(str(folder), info, every.vectors, 10, 1, Settings())


def test_the_command_says_where_its_queries_are_from(made: Path, run: Program) -> None:
    code, out, _ = run("parity", "--store", both(made)[1], "--queries", 20)
    assert code == 0 and "The 20 queries are made of stored points" in out


def test_a_batch_without_a_usable_image_does_not_end_the_search_for_queries(
    index: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cbir.open(both(index)[0]) as photos:
        info = photos.info
    embed, calls = queries_module.embed_labelled, []

    def fail_first(*given: Any, **options: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            raise UsageError("none of its 10 images can be used")
        return embed(*given, **options)

    monkeypatch.setattr(queries_module, "_BATCH", 10)
    monkeypatch.setattr(queries_module, "embed_labelled", fail_first)
    others = unit_vectors(50, dimension=info.model.dimension)
    assert len(from_source(str(folder), info, others, 10, 1, Settings()).names) == 10 and len(calls) > 1


@pytest.mark.parametrize("command", ["parity", "latency"])
def test_a_source_whose_images_are_all_stored_is_refused(command: str, index: Path, folder: Path, run: Program) -> None:
    code, _, err = run(command, "--store", both(index)[1], "--query-source", folder)
    assert code == 2 and err.splitlines()[-1].startswith(
        f"error: --query-source {folder}: none of its images can be used, or all are stored"
    )

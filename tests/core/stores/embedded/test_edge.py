"""The embedded Qdrant engine: quantization, and searches of a graph."""

import gc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cbir.filters.conditions import Filter, Match, matches
from cbir.filters.parser import parse_filter
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.vector_log import VectorLog
from cbir.records import Payload, Point, digest, point_id
from cbir.stores.base import SearchParams
from cbir.stores.embedded import edge, edge_build
from cbir.stores.engines import ENGINES
from tests.support.building import points_of, unit_vectors
from tests.support.contract import VECTORS, scan, written_log

GRAPH_VECTORS, QUERIES = unit_vectors(3000, 2, dimension=64), unit_vectors(30, 3, dimension=64)


@pytest.mark.parametrize("quantization", ["none", "scalar", "product", "binary", "turbo"])
def test_quantized_vectors_are_searched_and_the_whole_ones_kept(quantization: str, tmp_path: Path) -> None:
    log = VectorLog(written_log(tmp_path), VECTORS.shape[1])
    options = {**ENGINES["edge"].options, "quantization": quantization, "oversampling": "40"}
    edge.build(tmp_path / "made" / "1" / "edge", log, options, lambda done: None)
    index = edge.open_index(tmp_path / "made" / "1" / "edge", log, options)
    for query in unit_vectors(5, 4):
        best = [-score for score, _ in scan(query, ())[:10]]
        for exact in (False, True):
            scores, _ = index.search(query[None], 10, SearchParams(exact=exact))
            assert np.allclose(np.sort(scores[0])[::-1], best, atol=1e-4)
    index.close()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[edge.EdgeIndex]:
    """An index of `GRAPH_VECTORS` that walks a graph, which the engine usually builds from 10 MB of vectors on."""
    root = tmp_path_factory.mktemp("graph")
    writer = LogWriter(segment_path(root / "log", 1), GRAPH_VECTORS.shape[1])
    writer.append(points_of(GRAPH_VECTORS))
    writer.close()
    log, options = VectorLog(root / "log", GRAPH_VECTORS.shape[1]), ENGINES["edge"].options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge_build, "_FULL_SCAN_KB", 1)
        edge.build(root / "made" / "1" / "edge", log, options, lambda done: None)
    index = edge.open_index(root / "made" / "1" / "edge", log, options)
    yield index
    index.close()


def recall(index: edge.EdgeIndex, params: SearchParams, filter: Filter = ()) -> float:
    """Return the share of the best ten points by a scan, all of which match the filter, that a search finds."""
    allowed = np.array([matches(point.payload, filter) for point in points_of(GRAPH_VECTORS)])
    shares = []
    for query, scores in zip(QUERIES, index.search(QUERIES, 10, params, filter)[0], strict=True):
        tenth = np.sort((GRAPH_VECTORS @ query)[allowed])[-10]
        shares.append(np.mean(scores >= tenth - 1e-5))
    return float(np.mean(shares))


def test_a_narrow_search_of_a_graph_misses_points_and_an_exact_one_misses_none(graph: edge.EdgeIndex) -> None:
    assert graph.access == "graph"
    assert recall(graph, SearchParams(ef=4)) < 0.8
    assert recall(graph, SearchParams(ef=200)) > 0.95
    assert recall(graph, SearchParams(ef=4, exact=True)) == 1


def test_a_filtered_search_goes_on_through_points_that_do_not_match(graph: edge.EdgeIndex) -> None:
    assert recall(graph, SearchParams(ef=32), parse_filter("label=class 1")) > 0.9


def test_a_filter_that_few_points_match_misses_none(graph: edge.EdgeIndex) -> None:
    few = (Match("key", tuple(str(number) for number in range(0, len(GRAPH_VECTORS), 15))),)
    assert recall(graph, SearchParams(ef=4), few) == 1


def test_a_point_is_known_by_its_position_in_the_log(graph: edge.EdgeIndex) -> None:
    _, positions = graph.search(GRAPH_VECTORS[:40], 1)
    assert positions.tolist() == [[position] for position in range(40)]


@pytest.mark.parametrize("filter", [(), parse_filter("label=Bags"), parse_filter("key=1|2|4 and label!=Bags")])
def test_an_index_whose_points_have_ids_is_searched_as_well(
    filter: Filter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older versions built such indexes."""
    log, options = VectorLog(written_log(tmp_path), VECTORS.shape[1]), ENGINES["edge"].options
    found = []
    made = edge_build.Point
    for name, point in (("new", made), ("old", lambda position, *others: made(log.id(position), *others))):
        monkeypatch.setattr(edge_build, "Point", point)
        edge.build(tmp_path / "made" / name / "edge", log, options, lambda done: None)
        with closing(edge.open_index(tmp_path / "made" / name / "edge", log, options)) as index:
            scores, positions = index.search(VECTORS[:5], 10, filter=filter)
            order = np.lexsort((positions, -scores))
            found.append((np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)))
            assert index._by_position == (name == "new")
    assert np.array_equal(found[0], found[1])


def test_a_number_and_a_truth_value_are_different_filters(tmp_path: Path) -> None:
    payloads: list[Payload] = [{"flag": value} for value in (True, 1, 1.0, False)]
    writer = LogWriter(segment_path(tmp_path, 1), 8)
    vectors = unit_vectors(4, dimension=8)
    writer.append(
        [Point(point_id("d", str(i)), vectors[i], row, "", b"", digest(row)) for i, row in enumerate(payloads)]
    )
    writer.close()
    log, options = VectorLog(tmp_path, 8), ENGINES["edge"].options
    edge.build(tmp_path / "made" / "1" / "edge", log, options, lambda done: None)
    index = edge.open_index(tmp_path / "made" / "1" / "edge", log, options)
    for value, count in ((True, 1), (1, 2), (False, 1), (0, 0)):
        _, positions = index.search(vectors[:1], 4, SearchParams(exact=True), (Match("flag", (value,)),))
        assert (positions >= 0).sum() == count, value
    index.close()


def test_an_index_is_closed_with_its_last_reference(tmp_path: Path) -> None:
    log, options = VectorLog(written_log(tmp_path), VECTORS.shape[1]), ENGINES["edge"].options
    edge.build(tmp_path / "made" / "1" / "edge", log, options, lambda done: None)
    index = edge.open_index(tmp_path / "made" / "1" / "edge", log, options)
    index.search(unit_vectors(1, dimension=8), 1, filter=parse_filter("label!=kind 1"))
    view = index._view
    assert view.is_dir()
    gc.disable()
    try:
        del index
        assert not view.exists()
    finally:
        gc.enable()

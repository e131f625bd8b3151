"""The fields that the embedded Qdrant engine has an index and links for."""

from pathlib import Path

import numpy as np
import pytest

from cbir.filters.parser import parse_filter
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.vector_log import VectorLog
from cbir.records import Point, digest, point_id
from cbir.stores.base import SearchParams
from cbir.stores.embedded import edge
from cbir.stores.engines import ENGINES
from tests.support.building import unit_vectors


def table_log(tmp_path: Path, columns: int) -> VectorLog:
    """Return a log of 60 points with many numbers, a text, and a field whose name the engine has to quote."""
    (tmp_path / "log").mkdir()
    writer = LogWriter(segment_path(tmp_path / "log", 1), 8)
    vectors = unit_vectors(60, dimension=8)
    rows = [
        {"label": f"kind {i % 3}", "my field": i % 5, **{f"c{column}": i + column for column in range(columns)}}
        for i in range(60)
    ]
    writer.append([Point(point_id("d", str(i)), vectors[i], rows[i], "", b"", digest(rows[i])) for i in range(60)])
    writer.close()
    return VectorLog(tmp_path / "log", 8)


@pytest.mark.parametrize(
    ("requested", "indexed", "linked"),
    [
        ("", {"label", '"my field"', *(f"c{column}" for column in range(6))}, {"label"}),
        ("c90,my field,no such field", {"label", '"my field"', "c90"}, {"label", '"my field"', "c90"}),
    ],
)
def test_only_few_fields_are_indexed_and_every_field_can_be_filtered(
    requested: str, indexed: set[str], linked: set[str], tmp_path: Path
) -> None:
    """The engine syncs all its indexes whenever it makes one more: forty took half a minute, two hundred no end.

    Links in the graph take longer still, so only the label and the requested fields have them.
    """
    log = table_log(tmp_path, 100)
    options = {**ENGINES["edge"].options, "index_field": requested}
    folder = tmp_path / "made" / "1" / "edge"
    edge.build(folder, log, options, lambda done: None)
    index = edge.open_index(folder, log, options)
    assert index._indexed_fields == indexed
    schema = index._shard.info().payload_schema
    assert {field for field in indexed if schema[field].params.enable_hnsw is not False} == linked  # type: ignore[union-attr]
    everything = [
        "label=kind 1",
        "c90>=120",
        "c2<30",
        "c90>=120 and label!=kind 2",
        "my field=3 and c91=134",
        "c90=null",
    ]
    for text in everything:
        conditions = parse_filter(text)
        _, positions = index.search(unit_vectors(1, dimension=8), 60, SearchParams(exact=True), conditions)
        found = np.sort(positions[positions >= 0])
        assert found.tolist() == np.flatnonzero(log.table.mask(conditions)).tolist(), text
    index.close()


def test_a_field_that_cannot_be_indexed_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {**ENGINES["edge"].options, "index_field": "c1,yeer"}
    edge.build(tmp_path / "made" / "1" / "edge", table_log(tmp_path, 2), options, lambda done: None)
    assert [record.getMessage() for record in caplog.records] == [
        "warning: no index for yeer: no image has such a field, or its values are of several kinds;"
        " the fields are label, my field, c0, c1"
    ]

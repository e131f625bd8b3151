"""Graphs exported from torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import CbirError

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

import onnxruntime
from cbir.export.graph import export_graph, with_fp16_weights
from onnx import numpy_helper

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


class Table(torch.nn.Module):  # type: ignore[misc,name-defined]
    """The sum of the rows of a table."""

    def __init__(self, largest: float):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Parameter(torch.rand(40, 8) * largest)

    def forward(self, rows: Any) -> Any:
        return self.table[rows].sum(dim=1)


class Branching(torch.nn.Module):  # type: ignore[misc,name-defined]
    """What depends on values, which a graph cannot hold."""

    def forward(self, rows: Any) -> Any:
        return rows if rows.sum() > 0 else rows[:1]


def _graph(module: Any) -> Any:
    return export_graph(module, torch.ones((2, 3), dtype=torch.int64), {0: torch.export.Dim("batch")}, "rows", "made")


def _run(model: Any, rows: Any) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["embeddings"], {"rows": rows})[0]


def test_the_graph_is_that_of_torch_for_any_batch_and_names_no_file() -> None:
    module = Table(1.0)
    model = _graph(module)
    for batch in (1, 5):
        rows = np.random.default_rng(batch).integers(0, 40, (batch, 3))
        np.testing.assert_allclose(_run(model, rows), module(torch.from_numpy(rows)).detach().numpy(), rtol=1e-5)
    assert Path(__file__).name.encode() not in model.SerializeToString()
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


def test_weights_in_fp16_are_half_as_large_unless_they_are_too_large_for_it() -> None:
    rows = np.array([[0, 7, 39]])
    for largest, kind in ((1.0, np.float16), (1e6, np.float32)):
        model = _graph(Table(largest))
        small = with_fp16_weights(model)
        (table,) = (numpy_helper.to_array(tensor) for tensor in small.graph.initializer if len(tensor.dims) == 2)
        assert table.dtype == kind
        np.testing.assert_allclose(_run(small, rows), _run(model, rows), rtol=1e-3)


def test_a_module_that_cannot_be_exported_is_one_line() -> None:
    with pytest.raises(CbirError, match="torch cannot export made to ONNX: ") as caught:
        _graph(Branching())
    assert "\n" not in str(caught.value)

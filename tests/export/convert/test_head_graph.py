"""A head in a graph computes the same as in NumPy, and can be read back."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cbir.errors import UsageError

pytest.importorskip("torch", reason="the extra `export` is not installed")

import onnx
import onnxruntime
from cbir.export.convert.head_graph import Head, add_head, apply_head, read_head
from onnx import TensorProto, helper

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def _model() -> onnx.ModelProto:
    """A graph that returns its four inputs as vectors."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("images", "embeddings")]
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["embeddings"])], "g", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _head(*widths: int) -> Head:
    rng = np.random.default_rng(0)
    sizes = pairwise(widths)
    return Head([(rng.normal(size=(a, b)).astype("f4"), rng.normal(size=b).astype("f4")) for a, b in sizes])


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("widths", [(4, 3), (4, 8, 2)])
def test_the_graph_and_numpy_agree(widths: tuple[int, ...], keep: bool) -> None:
    model, head = _model(), replace(_head(*widths), keep=keep)
    assert read_head(model) is None
    add_head(model, head)
    onnx.checker.check_model(model, full_check=True)
    vectors = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"images": vectors})
    assert result.shape == (5, head.dimension) == (5, widths[-1] + keep * 4)
    np.testing.assert_allclose(result, apply_head(head, vectors), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1, atol=1e-6)
    stored = read_head(model)
    assert stored is not None and stored.keep == keep
    if keep:
        np.testing.assert_allclose(result[:, -4:], vectors * 0.5**0.5, atol=1e-6)
    for layer, expected in zip(stored.layers, head.layers, strict=True):
        assert all((a == b).all() for a, b in zip(layer, expected, strict=True))


def test_a_null_vector_stays_finite() -> None:
    model, head = _model(), Head([(np.eye(4, dtype=np.float32), np.zeros(4, np.float32))])
    add_head(model, head)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    nulls = np.zeros((1, 4), np.float32)
    assert (session.run(None, {"images": nulls})[0] == apply_head(head, nulls)).all()


def test_a_second_head_is_refused() -> None:
    model = _model()
    add_head(model, _head(4, 3))
    with pytest.raises(UsageError, match="already has a trained head"):
        add_head(model, _head(3, 2))

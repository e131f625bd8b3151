"""Which graphs of model files are refused before anything runs them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cbir.models.graph import FIRST_SIZE, refusal
from cbir.models.sealed import find_model
from tests.support.onnx_file import cast, field, node, tensor, write_model
from tests.support.text_file import text_card, write_tower

FINISH = node("Flatten", "floats", "embeddings")
GOOD = [cast("images", "floats"), FINISH]
SIZE = [cast("images", "whole", 7), node("ReduceMax", "whole", "size")]
"""The brightest pixel as an integer."""


USED = (
    "Add Cast Clip Concat Conv DequantizeLinear Div Erf Expand Gather Gemm HardSigmoid HardSwish LayerNormalization"
    " LpNormalization MatMul MaxPool Mul Neg Pad QuantizeLinear ReduceL2 ReduceMean Relu Reshape Shape Sigmoid Slice"
    " Softmax Split Squeeze Sub Transpose Unsqueeze"
)
"""The operators of every backbone that `cbir-export list` names, in fp32, fp16 and int8, and of a trained head."""


USED_BY_TEXT_TOWERS = (
    "Add And Cast Clip Concat Div Equal Erf Expand Gather GatherElements GatherND Gemm GreaterOrEqual"
    " LayerNormalization MatMul Max Mul Not Range ReduceL2 ReduceSum Reshape Shape Slice Softmax Squeeze Sub Transpose"
    " Unsqueeze Where"
)
"""The operators of the packaged text tower."""


def test_what_is_exported_is_allowed() -> None:
    assert FIRST_SIZE.keys() >= {*USED.split(), *USED_BY_TEXT_TOWERS.split()}


def test_the_packaged_models_and_small_ones_pass(model_file: Path, tmp_path: Path) -> None:
    assert refusal(model_file.read_bytes()) is None
    assert refusal(find_model("efficientnet_lite0-text").read_bytes()) is None
    assert refusal(write_tower(tmp_path / "text.onnx", text_card(())).read_bytes()) is None
    assert refusal(write_model(tmp_path / "made.onnx", GOOD).read_bytes()) is None


@pytest.mark.parametrize("operator", ["Loop", "If", "Scan", "SequenceMap", "NonZero", "RandomNormal", "StringSplit"])
def test_operators_that_loop_or_have_results_of_any_size_are_not_allowed(operator: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "made.onnx", [*GOOD, node(operator, "floats", "more"), node("Magic", "more", "x")])
    assert (
        refusal(path.read_bytes())
        == f"its graph has operators that are not allowed: {', '.join(sorted([operator, 'Magic']))}"
    )


def test_an_operator_of_another_domain_is_not_allowed(tmp_path: Path) -> None:
    path = write_model(tmp_path / "made.onnx", [*GOOD, node("Add", "floats floats", "x", field(7, "com.evil"))])
    assert refusal(path.read_bytes()) == "its graph has operators that are not allowed: com.evil.*"


def test_operators_of_its_own_are_not_allowed(tmp_path: Path) -> None:
    own = field(25, field(1, "Flatten") + field(7, node("Loop", "", "")))
    path = write_model(tmp_path / "made.onnx", GOOD, more=own)
    assert refusal(path.read_bytes()) == "its graph defines operators of its own"


def test_weights_are_in_the_file_that_has_the_checksum(tmp_path: Path) -> None:
    outside = tensor("weights", np.zeros(0, np.float32), field(13, field(1, "location") + field(2, "w")) + field(14, 1))
    assert (
        refusal(write_model(tmp_path / "made.onnx", GOOD, [outside]).read_bytes()) == "its weights are in another file"
    )
    constant = node("Constant", "", "weights", field(5, field(1, "value") + field(5, outside) + field(20, 4)))
    assert (
        refusal(write_model(tmp_path / "made.onnx", [*GOOD, constant]).read_bytes())
        == "its weights are in another file"
    )
    inside = tensor("weights", np.zeros(1, np.float32), field(14, 0))
    assert refusal(write_model(tmp_path / "made.onnx", GOOD, [inside]).read_bytes()) is None


def test_sparse_weights_are_not_allowed(tmp_path: Path) -> None:
    constant = node("Constant", "", "weights", field(5, field(1, "sparse_value") + field(22, b"") + field(20, 11)))
    path = write_model(tmp_path / "made.onnx", [*GOOD, constant])
    assert refusal(path.read_bytes()) == "its weights are sparse tensors, which are not allowed"


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("nodes", "operator"),
    [
        ([node("Expand", "floats size", "large")], "Expand"),
        ([node("ConstantOfShape", "size", "large")], "ConstantOfShape"),
        ([node("Add", "size one", "more"), node("Tile", "floats more", "large")], "Tile"),
        ([node("Reshape", "floats size", "other"), node("Shape", "other", "shape")], "Reshape"),
    ],
)
def test_no_shape_depends_on_what_an_image_shows(
    nodes: list[bytes], operator: str, backwards: bool, tmp_path: Path
) -> None:
    every = [*SIZE, *GOOD, *nodes]
    path = write_model(
        tmp_path / "made.onnx", every[::-1] if backwards else every, [tensor("one", np.ones(1, np.int64))]
    )
    assert refusal(path.read_bytes()) == f"in its graph the result of {operator} has another shape for each image"


def test_no_shape_depends_on_the_words_of_a_text(tmp_path: Path) -> None:
    """A text of few words could otherwise take all memory, after a trial with zeros took none."""
    nodes = (node("ReduceMax", "tokens", "most"), node("ConstantOfShape", "most", "large"))
    path = write_tower(tmp_path / "text.onnx", text_card(()), more_nodes=nodes)
    assert refusal(path.read_bytes()) == "in its graph the result of ConstantOfShape has another shape for each image"


def test_a_shape_may_depend_on_the_batch(tmp_path: Path) -> None:
    nodes = [cast("images", "floats"), node("Shape", "floats", "shape"), node("Expand", "floats shape", "same")]
    nodes.append(node("Flatten", "same", "embeddings"))
    assert refusal(write_model(tmp_path / "made.onnx", nodes).read_bytes()) is None


@given(st.binary(max_size=200))
@example(b"=\x00\x00\x00\x00")  # a number in place of the graph
def test_bytes_that_are_no_graph_are_an_error_or_hold_no_operator(data: bytes) -> None:
    try:
        assert refusal(data) is None
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize("data", [b"\x3a\x05ab", b"\x3b", b"\xff" * 11, b"\x3a", b"\xba\x80\x80\x80\x80\x80\x01\x00"])
def test_malformed_fields_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="no ONNX"):
        refusal(data)

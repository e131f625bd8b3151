"""`cbir-export compare`: its table, and models and options that it refuses."""

from pathlib import Path
from typing import Any

import pytest

from cbir.errors import UsageError
from cbir.models.sealed import find_model
from tests.support.exporting import export, reseal

pytest.importorskip("torch", reason="the extra `export` is not installed")

from onnx import TensorProto, helper

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_compare_prints_a_row_for_each_model(fp32_file: Path, int8_file: Path, capsys: Any) -> None:
    export("compare", fp32_file, int8_file)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("efficientnet")]
    assert [(row[1], row[2], row[3]) for row in rows] == [("fp32", "cpu", "1280"), ("int8", "cpu", "1280")]
    assert float(rows[0][-4]) == 1
    assert 0.9 < float(rows[1][-3]) < 1


def test_a_model_with_another_input_is_refused(fp32_file: Path, tmp_path: Path) -> None:
    def float_input(model: Any) -> None:
        cast = next(node for node in model.graph.node if node.op_type == "Cast")
        cast.CopyFrom(helper.make_node("Identity", list(cast.input), list(cast.output)))
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT

    with pytest.raises(UsageError, match=r"maps tensor\(float\)") as caught:
        export("compare", reseal(fp32_file, tmp_path / "float.onnx", float_input))
    assert "\n" not in str(caught.value)


def test_options_of_the_data_need_data() -> None:
    with pytest.raises(UsageError, match="need --data"):
        export("compare", find_model("efficientnet_lite0"), "--label", "x")

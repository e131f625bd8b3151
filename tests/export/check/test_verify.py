"""Files that are damaged or contradict their card are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import CbirError, UsageError
from cbir.models.card import CARD
from cbir.models.sealed import CARD_FIELD, PACKAGED
from tests.support.exporting import export, reseal
from tests.support.trainings import trained_card

pytest.importorskip("torch", reason="the extra `export` is not installed")

from onnx import numpy_helper

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_files_that_contradict_their_card_are_refused(fp32_file: Path, tmp_path: Path) -> None:

    def other_rule(model: Any) -> None:
        fields = {field.key: field for field in model.metadata_props}
        card = CARD.validate_json(fields[CARD_FIELD].value)
        fields[CARD_FIELD].value = CARD.dump_json(replace(card, input=replace(card.input, resize=300))).decode()

    def other_weights(model: Any) -> None:
        for tensor in model.graph.initializer:
            if tensor.name.endswith("conv_head.weight"):
                noise = np.random.default_rng(0).normal(size=tuple(tensor.dims)).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(noise, tensor.name))

    with pytest.raises(CbirError, match="the input rule in its card is .*resize=300"):
        export("verify", reseal(fp32_file, tmp_path / "rule.onnx", other_rule))
    with pytest.raises(CbirError, match="differs from torch: .*is not a efficientnet_lite0"):
        export("verify", reseal(fp32_file, tmp_path / "weights.onnx", other_weights))
    (tmp_path / "cut.onnx").write_bytes(fp32_file.read_bytes()[:-1000])
    (tmp_path / "flipped.onnx").write_bytes(fp32_file.read_bytes()[:-1] + b"\x00")
    for name, message in {
        "cut.onnx": "cut.onnx is damaged|not a model file",
        "flipped.onnx": "flipped.onnx is damaged|not a model file",
        "nowhere.onnx": "cannot read the model",
    }.items():
        with pytest.raises(CbirError, match=message) as caught:
            export("verify", tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_head_in_int8_is_compared_with_the_file_it_was_made_from(tmp_path: Path) -> None:
    def trained(model: Any) -> None:
        fields = {field.key: field for field in model.metadata_props}
        card = replace(CARD.validate_json(fields[CARD_FIELD].value), training=trained_card().training)
        fields[CARD_FIELD].value = CARD.dump_json(card).decode()

    path = reseal(PACKAGED / "efficientnet_lite0-int8.onnx", tmp_path / "fast.onnx", trained)
    with pytest.raises(UsageError, match=r"Its head is in int8.*cbir-export compare FILE .*fast\.onnx"):
        export("verify", path)

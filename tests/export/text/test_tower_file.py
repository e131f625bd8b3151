"""Files of text towers: their weights in three precisions, and nothing is written that differs from torch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import CbirError
from cbir.models.text_tower import TextTower
from tests.support.exporting import read_record
from tests.support.text_file import text_card, word_tokenizer

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.text import tower_file
from cbir.export.text.tower_file import torch_vectors, with_int8_weights, without_padding, write_tower
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]

DIMENSION = 8


class Words(torch.nn.Module):  # type: ignore[misc,name-defined]
    """The sum of the vectors of words, through a matrix."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(6, 64))
        self.matrix = torch.nn.Parameter(torch.randn(64, DIMENSION))

    def forward(self, tokens: Any) -> Any:
        return torch.nn.functional.normalize(self.table[tokens].sum(dim=1) @ self.matrix)


CARD = replace(text_card(("0" * 64,), DIMENSION), padding=0)


@pytest.fixture
def module() -> Words:
    made = Words().requires_grad_(False)
    made.table[0] = 0  # the padding
    return made


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_tower_is_written_with_its_record(precision: Any, module: Words, tmp_path: Path) -> None:
    path = tmp_path / "made-text.onnx"
    record = write_tower(module, word_tokenizer(), replace(CARD, precision=precision), path)
    tower = TextTower(path)
    assert (tower.sha256, tower.card.precision) == (record.sha256, precision)
    assert read_record(path) == {
        "model": "made-text",
        "sha256": record.sha256,
        "texts": 500,
        "cosine_min": record.cosine_min,
        "cosine_p50": record.cosine_p50,
        "limit": 0.995 if precision == "int8" else 0.9999,
    }
    texts = ["red heart", "blue", "red " * 9]
    expected = torch_vectors(module, word_tokenizer(), tower.card, texts)
    assert (tower.embed(texts) * expected).sum(axis=1).min() >= record.limit
    assert sorted(file.name for file in tmp_path.iterdir()) == ["made-text.onnx", "made-text.parity.json"]


def test_a_tower_that_differs_from_torch_is_not_written(
    module: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tower_file, "with_int8_weights", lambda model: _with_other_weights(model))
    with pytest.raises(
        CbirError, match=r"The int8 text tower differs from torch: cosine min .*expected at least 0.995"
    ):
        write_tower(module, word_tokenizer(), replace(CARD, precision="int8"), tmp_path / "made-text.onnx")
    assert list(tmp_path.iterdir()) == []


def test_texts_are_cleaned_as_the_card_says(module: Words) -> None:
    vectors = [
        torch_vectors(module, word_tokenizer(), replace(CARD, cleaning=cleaning), [text])
        for cleaning, text in (("none", "red heart"), ("clip", "RED   &#104;eart"), ("none", "RED   &#104;eart"))
    ]
    assert np.allclose(vectors[0], vectors[1])
    assert not np.allclose(vectors[0], vectors[2])


def test_int8_weights_have_a_scale_for_each_row_of_a_table_and_for_each_64_rows_of_a_matrix() -> None:
    rng = np.random.default_rng(0)
    arrays = {"table": rng.normal(size=(6, 128)), "matrix": rng.normal(size=(128, 8)), "odd": rng.normal(size=(8, 3))}
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["words"]),
        helper.make_node("MatMul", ["words", "matrix"], ["narrow"]),
        helper.make_node("MatMul", ["narrow", "odd"], ["embeddings"]),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    small = with_int8_weights(helper.make_model(graph))
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    shapes = {name: tensors[f"{name}.scale"].shape for name in arrays}
    assert shapes == {"table": (6, 1, 1), "matrix": (2, 1, 8), "odd": (1, 1, 3)}
    for name, array in arrays.items():
        assert tensors[f"{name}.int8"].dtype == np.int8
        restored = (tensors[f"{name}.int8"] * tensors[f"{name}.scale"]).reshape(tensors[f"{name}.shape"])
        assert np.abs(restored - array).max() <= tensors[f"{name}.scale"].max() / 2 + 1e-6
        assert np.abs(tensors[f"{name}.int8"]).max() == 127


def test_a_tokenizer_for_a_tower_pads_and_cuts_nothing() -> None:
    tokenizer = Tokenizer.from_str(word_tokenizer())
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(2)
    plain = Tokenizer.from_str(without_padding(tokenizer.to_str()))
    assert plain.encode("red blue heart").ids == [2, 3, 4]


def _with_other_weights(model: Any) -> Any:
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2:
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor)[:, ::-1].copy(), tensor.name))
    return model

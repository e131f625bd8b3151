"""Finetuning of a backbone."""

from pathlib import Path
from typing import Any

import pytest

from cbir.errors import UsageError
from cbir.evaluation.embeddings import open_labelled
from cbir.models.embedder import Embedder
from cbir.sources.base import SourceOptions
from tests.support.exporting import TINY, export

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.backbone import load_backbone
from cbir.export.train.finetune import FinetuneOptions, finetune
from cbir.export.zoo import BACKBONES

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_finetuning_lowers_the_loss_and_raises_the_accuracy(three_classes: Path, tmp_path: Path, capsys: Any) -> None:

    _, items = open_labelled(str(three_classes), SourceOptions())
    options = FinetuneOptions(epochs=3, learning_rate=3e-4, dimension=32)
    loaded = load_backbone(BACKBONES["efficientnet_lite0"])
    before = {name: tensor.clone() for name, tensor in loaded.module.state_dict().items()}
    trained = finetune(loaded, items, options)
    moved = {key for key, tensor in loaded.module.state_dict().items() if not torch.equal(tensor, before[key])}
    assert {key.split(".")[1] for key in moved if key.startswith("blocks.")} == {"5", "6"}
    assert {key for key in moved if not key.startswith("blocks.")} <= {"conv_head.weight", "bn2.weight", "bn2.bias"}
    assert trained.losses[0] > trained.losses[1] > trained.losses[2]
    assert trained.after.precision_at_k > trained.before.precision_at_k

    path = tmp_path / "tuned.onnx"
    export("finetune", TINY, three_classes, "--weights", "random", "--epochs", "1", "--blocks", "1", "-o", path)
    card = Embedder(path).card
    assert card.training is not None
    assert (card.training.kind, card.dimension, card.random_weights) == ("finetune", 256, True)
    with pytest.raises(UsageError, match="would be overwritten"):
        export("finetune", TINY, three_classes, "--weights", path.with_suffix(".safetensors"), "-o", path)
    export("verify", path, "--weights", path.with_suffix(".safetensors"))
    with pytest.raises(UsageError, match="--blocks 99: the backbone has only"):
        export("finetune", TINY, three_classes, "--weights", "random", "--blocks", "99", "-o", path)
    with pytest.raises(UsageError, match="--device warp"):
        export("finetune", TINY, three_classes, "--weights", "random", "--device", "warp", "-o", path)

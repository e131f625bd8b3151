"""A trained head."""

from pathlib import Path
from typing import Any

import pytest

from cbir.models.embedder import Embedder
from cbir.models.sealed import find_model
from tests.support.exporting import export, read_record

pytest.importorskip("torch", reason="the extra `export` is not installed")


pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_a_trained_head_is_more_accurate_and_in_one_file(
    three_classes: Path, tmp_path: Path, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model, better = find_model("efficientnet_lite0"), tmp_path / "better.onnx"
    export("head", model, three_classes, "--hidden", "0", "--dimension", "32", "-o", better)
    embedder = Embedder(better)
    training = embedder.card.training
    assert training is not None
    assert (training.kind, training.classes, training.images) == ("head", ["Animals", "Food", "Objects"], 126)
    assert (embedder.card.name, embedder.card.dimension) == ("better", 32)
    before, after = (
        float(line.split()[1])
        for line in capsys.readouterr().out.splitlines()
        if line.split()[:1] in (["before"], ["after"])
    )
    assert after > before
    assert training.metrics["precision_at_5"] == pytest.approx(after, abs=1e-4)
    assert read_record(better)["links"][0]["agreement"]["cosine_min"] >= 0.9999
    export("verify", better)
    export("compare", model, better, "--data", three_classes)
    assert f"{after:.4f}" in capsys.readouterr().out  # the same split, so no query is a training image
    assert "too high" not in caplog.text
    export("compare", better, "--data", three_classes, "--seed", "7")
    assert "The accuracy is too high: some queries are among the 126 images" in caplog.text

"""The times of models that take turns, and the accuracy by the protocol."""

import logging
import time

import numpy as np
import pytest

from cbir.evaluation.embeddings import Labelled
from cbir.models.card import Training

pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.check.compare import median_times, protocol_accuracy

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_calls_take_turns() -> None:
    order: list[str] = []
    fast, slow = median_times([lambda: order.append("fast"), lambda: (order.append("slow"), time.sleep(0.02))])
    assert 0 <= fast < slow
    assert slow >= 20
    assert order[4:8] == ["fast", "slow"] * 2


def _labelled() -> Labelled:
    vectors = np.repeat(np.eye(2, dtype=np.float32), 20, axis=0)
    labels = ["cat"] * 20 + ["dog"] * 20
    return Labelled("pets", vectors, labels, [b""] * 40, [f"{i}" for i in range(40)])


def test_a_model_trained_on_the_queries_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    training = Training("head", "pets", "", ["cat", "dog"], 28, "70/15/15 by class, seed 42", {})
    with caplog.at_level(logging.WARNING):
        assert protocol_accuracy(_labelled(), 42, training).precision_at_k == 1
        assert protocol_accuracy(_labelled(), 42, None).queries == 6
        assert caplog.text == ""
        protocol_accuracy(_labelled(), 43, training)
    assert "The accuracy is too high: some queries are among the 28 images of pets" in caplog.text

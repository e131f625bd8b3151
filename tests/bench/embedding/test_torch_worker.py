"""The worker of torch, where it is not installed."""

import sys

import pytest
from cbir.bench.embedding.torch_worker import run


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "timm" in run({"backbone": "resnet18"})["missing"]

"""The worker of sentence-transformers, where it is not installed."""

import sys

import pytest
from cbir.bench.embedding.sentence_transformers_worker import run


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert "sentence_transformers" in run({})["missing"]

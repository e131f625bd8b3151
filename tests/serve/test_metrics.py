"""Metrics of one process, and of several."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from cbir.serve.metrics import SHARED, Metrics
from prometheus_client.parser import text_string_to_metric_families as families


def total(text: bytes, name: str) -> float:
    return sum(sample.value for family in families(text.decode()) for sample in family.samples if sample.name == name)


def count_twice() -> None:
    metrics = Metrics(dict, dict)
    for _ in range(2):
        metrics.requests.labels("/a", "GET", "200").inc()
        metrics.record({"text model": 5.0})


def test_stages_and_queues_are_counted() -> None:
    metrics = Metrics(dict, lambda: {"search": 3})
    metrics.record({"store": 2.0, "text model": 5.0})
    text = metrics.text()
    assert b'cbir_stage_seconds_count{stage="text_model"} 1.0' in text
    assert total(text, "cbir_stage_seconds_sum") == pytest.approx(0.007)
    assert b'cbir_queue{queue="search"} 3.0' in text


def test_processes_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARED, str(tmp_path))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=count_twice) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    code = "from cbir.serve.metrics import Metrics; print(Metrics(dict, dict).text().decode())"

    text = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert total(text, "cbir_requests_total") == 4
    assert total(text, "cbir_stage_seconds_count") == 4

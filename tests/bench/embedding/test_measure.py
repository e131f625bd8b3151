"""Real ingests and real loops on a few images, beside baselines that are not installed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cbir.bench.embedding.measure import BOUND, DURABLE, MODEL, PUBLISHED

from tests.bench.conftest import IMAGES
from tests.support.running import Program


def by_name(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in model["parts"]}


def test_parts_and_ratios_of_real_runs_and_baselines_that_are_not_installed(
    run: Program, folder: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    target = tmp_path / "speed.json"
    options = ("--rounds", 1, "--seconds", 0.3, "--json", target)
    code, out, err = run(folder, *options, "--baseline", "fastembed", "--baseline", "torch", "--baseline-python", bare)
    assert code == 0, err
    result = json.loads(target.read_text())
    assert result["benchmark"] == "ingest"
    assert result["source"] == str(folder)
    assert result["sample"] == IMAGES
    (model,) = result["models"]
    assert model["model"] == "efficientnet_lite0 (fp16)"
    assert model["stored"] == IMAGES
    parts = by_name(model)
    assert list(parts) == [MODEL, BOUND, DURABLE, PUBLISHED, "fastembed", "torch"]
    for name in (MODEL, BOUND, DURABLE, PUBLISHED):
        part = parts[name]
        assert not part["missing"]
        assert 0 < part["images_per_second"]["lowest"] <= part["images_per_second"]["median"]
        assert part["images_per_second"]["median"] <= part["images_per_second"]["highest"]
        assert 50 < part["peak_megabytes"] < 4000
    assert parts[PUBLISHED]["images_per_second"]["median"] < parts[DURABLE]["images_per_second"]["median"]
    spent = parts[DURABLE]["settings"]["seconds"]
    durable = IMAGES / (spent["total"] - spent["open"] - spent["build"])
    assert parts[DURABLE]["images_per_second"]["median"] == pytest.approx(durable, rel=1e-6)
    for name in ("workers", "threads", "batch_size"):
        assert parts[MODEL]["settings"][name] == parts[DURABLE]["settings"][name]
    assert parts[MODEL]["core_milliseconds"] > 0.1
    for name, module in (("fastembed", "onnx|fastembed|numpy"), ("torch", "timm|torch")):
        assert parts[name]["missing"].startswith("not installed: No module named")
        assert any(package in parts[name]["missing"] for package in module.split("|"))
        assert parts[name]["images_per_second"] is None
    for name in (MODEL, BOUND, DURABLE, PUBLISHED):
        ours, other = (parts[each]["images_per_second"]["median"] for each in (DURABLE, name))
        assert parts[name]["ratio"]["median"] == pytest.approx(ours / other)
    assert "not installed: No module named" in " ".join(out.split())
    assert DURABLE in out

"""Real ingests and real loops on a few images, beside baselines that are not installed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cbir.bench.embedding.measure import (
    BOUND,
    DURABLE,
    MODEL,
    PUBLISHED,
    EmbeddingPart,
    ModelEmbedding,
    embedding_notes,
    embedding_tables,
    embedding_verdicts,
)

from cbir.tables import Range
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
    assert model["model"] == "efficientnet_lite0 (fp32)"
    assert model["stored"] == IMAGES
    parts = by_name(model)
    assert list(parts) == [MODEL, BOUND, DURABLE, PUBLISHED, "fastembed", "torch"]
    for name in (MODEL, BOUND, DURABLE, PUBLISHED):
        part = parts[name]
        assert not part["missing"]
        assert 0 < part["images_per_second"]["low"] <= part["images_per_second"]["value"]
        assert part["images_per_second"]["value"] <= part["images_per_second"]["high"]
        assert 50 < part["peak_megabytes"] < 4000
    assert parts[PUBLISHED]["images_per_second"]["value"] < parts[DURABLE]["images_per_second"]["value"]
    spent = parts[DURABLE]["settings"]["seconds"]
    durable = IMAGES / (spent["total"] - spent["open"] - spent["build"])
    assert parts[DURABLE]["images_per_second"]["value"] == pytest.approx(durable, rel=1e-6)
    for name in ("workers", "threads", "batch_size"):
        assert parts[MODEL]["settings"][name] == parts[DURABLE]["settings"][name]
    assert parts[MODEL]["core_milliseconds"] > 0.1
    for name, module in (("fastembed", "onnx|fastembed|numpy"), ("torch", "timm|torch")):
        assert parts[name]["missing"].startswith("not installed: No module named")
        assert any(package in parts[name]["missing"] for package in module.split("|"))
        assert parts[name]["images_per_second"] is None
    for name in (MODEL, BOUND, DURABLE, PUBLISHED):
        ours, other = (parts[each]["images_per_second"]["value"] for each in (DURABLE, name))
        assert parts[name]["ratio"]["value"] == pytest.approx(ours / other)
    assert "not installed: No module named" in " ".join(out.split())
    assert DURABLE in out


def part(name: str, rate: float) -> EmbeddingPart:
    ratio = 80.0 / rate
    return EmbeddingPart(
        name,
        "",
        Range(rate, rate, rate),
        ratio=Range(ratio, ratio, ratio),
        others=0.0,
        same_model="CLIP" not in name,
        rounds_per_second=[rate] * 6,
    )


CLIP = "sentence-transformers (CLIP ViT-B/32)"
MEASURED = ModelEmbedding(
    "lite0",
    500,
    [
        *(part(name, rate) for name, rate in ((MODEL, 100.0), (BOUND, 90.0), (DURABLE, 80.0), (PUBLISHED, 60.0))),
        *(part(name, rate) for name, rate in (("torch", 20.0), ("fastembed", 40.0), (CLIP, 79.0))),
        EmbeddingPart(CLIP, "not installed: No module named 'torch'"),
    ],
    {},
)


def test_the_ingest_is_compared_with_its_model_and_with_the_fastest_baseline() -> None:
    assert embedding_verdicts([MEASURED], {"features": "VNNI"}) == [
        "An ingest with lite0 reaches 80% of the speed of its model alone.",
        "cbir-ingest embeds 2.00 [2.00, 2.00] times as fast as fastembed with lite0 on a processor with VNNI.",
    ], "CLIP is another model"


def test_each_part_is_a_row_and_what_is_missing_has_no_numbers() -> None:
    (table,) = embedding_tables([MEASURED])
    assert table.title == "lite0, 500 images"
    assert table.rows[0][:2] == [MODEL, Range(100.0, 100.0, 100.0)]
    assert table.rows[-1] == [CLIP, None, None, None, None]
    assert f"{MEASURED.model}, {CLIP}: not measured: not installed: No module named 'torch'" in embedding_notes(
        [MEASURED]
    )

"""`cbir-bench ingest` on a few real images: real ingests, real loops, and baselines that are missing or stand-ins."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cbir.bench import command
from cbir.bench.embedding.measure import BOUND, DURABLE, MODEL, PUBLISHED
from cbir.bench.ingest.result import SUBJECT

from tests.bench.conftest import IMAGES
from tests.support.running import Program, runner

TORCH = """import json, sys
job = json.loads(sys.argv[2])
rate = 80.0 if job["settings"]["channels_last"] and job["settings"]["threads"] == 1 else 20.0
print(json.dumps({"images": rate * job["seconds"], "seconds": job["seconds"], "versions": {"torch": "0"}}))
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Program `cbir-bench ingest` in this process and return exit code, output and errors."""
    return runner(monkeypatch, capsys, command.main, "cbir-bench", "ingest")


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def by_name(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in model["parts"]}


def test_parts_and_ratios_of_real_runs_and_baselines_that_are_not_installed(
    run: Program, folder: Path, tmp_path: Path
) -> None:
    bare = program(tmp_path / "python", f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
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
    ratio = parts[MODEL]["ratio"]["median"]
    assert out.startswith(
        f"An ingest with efficientnet_lite0 (fp16) reaches {ratio:.0%} of the speed of its model alone."
    )
    assert SUBJECT.dump(SUBJECT.load(result)) == result


def test_a_baseline_is_also_measured_with_its_fastest_settings(run: Program, folder: Path, tmp_path: Path) -> None:
    stand_in = program(tmp_path / "python", f"#!{sys.executable}\n{TORCH}")
    target = tmp_path / "speed.json"
    options = ("--rounds", 1, "--seconds", 0.2, "--limit", 8, "--json", target)
    code, _, err = run(folder, *options, "--baseline", "torch", "--baseline-python", stand_in)
    assert code == 0, err
    (model,) = json.loads(target.read_text())["models"]
    assert model["stored"] == 8
    parts = by_name(model)
    assert parts["torch"]["images_per_second"]["median"] == pytest.approx(20)
    assert parts["torch, tuned"]["images_per_second"]["median"] == pytest.approx(80)
    assert parts["torch, tuned"]["settings"]["channels_last"]
    assert model["versions"] == {"torch": {"torch": "0"}}
    durable = parts[DURABLE]["images_per_second"]["median"]
    assert parts["torch, tuned"]["ratio"]["median"] == pytest.approx(durable / 80)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either a SOURCE, or --photos N"),
        ([".", "--photos", 3], "either a SOURCE, or --photos N"),
        (["--photos", 3, "--limit", 2], "--photos generates its images"),
        ([".", "--baseline", "keras"], "--baseline keras. Choose from: fastembed, torch, sentence-transformers"),
        ([".", "--baseline", "torch", "--baseline-python", "nowhere"], "--baseline-python nowhere is not a program"),
        ([".", "--json", "nowhere/x.json"], "--json nowhere/x.json"),
        (["./nowhere"], "./nowhere does not exist"),
        (["sample://openmoji", "--model", "nothing"], "no model 'nothing'"),
    ],
)
def test_misuse_is_one_line(run: Program, arguments: list[object], said: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert not out
    assert said in err
    assert len(err.splitlines()) == 1

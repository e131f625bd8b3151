"""Other libraries that make vectors: which settings are measured, and which names are accepted."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cbir.bench.embedding.baseline import check_baselines
from cbir.bench.embedding.measure import DURABLE
from cbir.bench.embedding.worker import LIBRARIES

from cbir.errors import UsageError
from tests.support.running import Program

TORCH = """import json, sys
job = json.loads(sys.argv[2])
rate = 80.0 if job["settings"]["channels_last"] and job["settings"]["threads"] == 1 else 20.0
print(json.dumps({"images": rate * job["seconds"], "seconds": job["seconds"], "versions": {"torch": "0"}}))
"""


def by_name(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in model["parts"]}


def test_a_baseline_is_also_measured_with_its_fastest_settings(run: Program, folder: Path, tmp_path: Path) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!{sys.executable}\n{TORCH}")
    stand_in.chmod(0o755)
    target = tmp_path / "speed.json"
    options = ("--rounds", 1, "--seconds", 0.2, "--limit", 8, "--json", target)
    code, _, err = run(folder, *options, "--baseline", "torch", "--baseline-python", stand_in)
    assert code == 0, err
    (model,) = json.loads(target.read_text())["models"]
    assert model["stored"] == 8
    parts = by_name(model)
    assert parts["torch"]["images_per_second"]["value"] == pytest.approx(20)
    assert parts["torch, tuned"]["images_per_second"]["value"] == pytest.approx(80)
    assert parts["torch, tuned"]["settings"]["channels_last"]
    assert model["versions"] == {"torch": "0"}
    durable = parts[DURABLE]["images_per_second"]["value"]
    assert parts["torch, tuned"]["ratio"]["value"] == pytest.approx(durable / 80)


def test_baselines_are_named_once_and_run_by_this_python() -> None:
    assert check_baselines(["torch", "fastembed", "torch"], None) == (["torch", "fastembed"], sys.executable)
    assert check_baselines([], sys.executable) == ([], sys.executable)


def test_an_unknown_baseline_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=f"^Unknown baseline: --baseline keras. Choose from: {', '.join(LIBRARIES)}$"):
        check_baselines(["keras"], None)

"""`cbir-bench ingest` on a few real pictures: real ingests, real loops, and peers that are not there or stand-ins."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench import command
from cbir.bench.baselines.fastembed_worker import refit
from cbir.bench.core.measured_process import run_child
from cbir.bench.ingest import sample
from cbir.bench.ingest.measure import BOUND, DURABLE, MODEL, PUBLISHED
from PIL import Image

from cbir.errors import CbirError
from cbir.models.embedder import Embedder
from cbir.sources.base import SourceOptions
from tests.support.examples import SampleImages
from tests.support.running import Program, runner

COUNT = 40

TORCH = """import json, sys
job = json.loads(sys.argv[2])
rate = 80.0 if job["settings"]["channels_last"] and job["settings"]["threads"] == 1 else 20.0
print(json.dumps({"images": rate * job["seconds"], "seconds": job["seconds"], "versions": {"torch": "0"}}))
"""


@pytest.fixture(scope="module")
def folder(sample_images: SampleImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 pictures and one file that is none."""
    root = tmp_path_factory.mktemp("speed") / "photos"
    root.mkdir()
    for key, _, data in sample_images[:COUNT]:
        (root / f"{key}.png").write_bytes(data)
    (root / "broken.png").write_bytes(b"no picture")
    return root


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


def test_parts_and_ratios_of_real_runs_and_peers_that_are_not_installed(
    run: Program, folder: Path, tmp_path: Path
) -> None:
    bare = program(tmp_path / "python", f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    target = tmp_path / "speed.json"
    options = ("--rounds", 1, "--seconds", 0.3, "--json", target)
    code, out, err = run(folder, *options, "--peer", "fastembed", "--peer", "torch", "--peer-python", bare)
    assert code == 0, err
    result = json.loads(target.read_text())
    assert result["benchmark"] == "ingest"
    assert result["source"] == str(folder)
    assert result["sample"]["pictures"] == COUNT
    (model,) = result["models"]
    assert model["model"] == "efficientnet_lite0 (fp16)"
    assert model["stored"] == COUNT
    parts = by_name(model)
    assert list(parts) == [MODEL, BOUND, DURABLE, PUBLISHED, "fastembed", "torch"]
    for name in (MODEL, BOUND, DURABLE, PUBLISHED):
        part = parts[name]
        assert not part["missing"]
        assert 0 < part["images_per_second"]["lowest"] <= part["images_per_second"]["median"]
        assert part["images_per_second"]["median"] <= part["images_per_second"]["highest"]
        assert part["around_seconds"] > 0
        assert 50 < part["peak_megabytes"] < 4000
    assert parts[PUBLISHED]["images_per_second"]["median"] < parts[DURABLE]["images_per_second"]["median"]
    spent = parts[DURABLE]["settings"]["seconds"]
    durable = COUNT / (spent["total"] - spent["open"] - spent["build"])
    assert parts[DURABLE]["images_per_second"]["median"] == pytest.approx(durable, rel=1e-6)
    for name in ("workers", "threads", "batch_size"):
        assert parts[MODEL]["settings"][name] == parts[DURABLE]["settings"][name]
    assert parts[MODEL]["core_milliseconds"] > 0.1
    for name, module in (("fastembed", "onnx|fastembed|numpy"), ("torch", "timm|torch")):
        assert parts[name]["missing"].startswith("not installed: No module named")
        assert any(one in parts[name]["missing"] for one in module.split("|"))
        assert parts[name]["images_per_second"] is None
    assert [(ratio["of"], ratio["to"]) for ratio in model["ratios"]] == [
        (DURABLE, MODEL),
        (DURABLE, BOUND),
        (PUBLISHED, MODEL),
    ]
    for ratio in model["ratios"]:
        of, to = (parts[ratio[end]]["images_per_second"]["median"] for end in ("of", "to"))
        assert ratio["by_clock"]["median"] == pytest.approx(of / to)
    assert "not installed: No module named" in " ".join(out.split())
    assert f"{DURABLE} / {MODEL}" in out


def test_a_peer_is_also_measured_with_its_fastest_settings(run: Program, folder: Path, tmp_path: Path) -> None:
    stand_in = program(tmp_path / "python", f"#!{sys.executable}\n{TORCH}")
    target = tmp_path / "speed.json"
    options = ("--rounds", 1, "--seconds", 0.2, "--limit", 8, "--json", target)
    code, _, err = run(folder, *options, "--peer", "torch", "--peer-python", stand_in)
    assert code == 0, err
    (model,) = json.loads(target.read_text())["models"]
    assert model["stored"] == 8
    parts = by_name(model)
    assert parts["torch"]["images_per_second"]["median"] == pytest.approx(20)
    assert parts["torch, tuned"]["images_per_second"]["median"] == pytest.approx(80)
    assert parts["torch, tuned"]["settings"]["channels_last"]
    assert model["versions"] == {"torch": {"torch": "0"}}
    ratios = {ratio["to"]: ratio["by_clock"]["median"] for ratio in model["ratios"] if ratio["of"] == DURABLE}
    assert ratios["torch, tuned"] == pytest.approx(parts[DURABLE]["images_per_second"]["median"] / 80)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a SOURCE, or --photos N"),
        ([".", "--photos", 3], "a SOURCE, or --photos N"),
        (["--photos", 3, "--limit", 2], "mean nothing for --photos"),
        ([".", "--peer", "keras"], "--peer keras: there is fastembed, torch, sentence-transformers"),
        ([".", "--peer", "torch", "--peer-python", "nowhere"], "--peer-python nowhere is no program"),
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


def test_a_child_that_fails_is_one_line() -> None:
    with pytest.raises(CbirError, match=r"^the loop failed: error: broken$"):
        run_child(
            "the loop", [sys.executable, "-c", "import sys; print('log', file=sys.stderr); sys.exit('error: broken')"]
        )
    with pytest.raises(CbirError, match=r"^the loop failed: exit code -9$"):
        run_child("the loop", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    with pytest.raises(CbirError, match=r"^the loop printed no JSON"):
        run_child("the loop", [sys.executable, "-c", "print('hello')"])


def test_a_childs_memory_and_time_are_its_own() -> None:
    code = "import time; kept = b'x' * 200_000_000; time.sleep(1.2); print('{}')"
    child = run_child("it", [sys.executable, "-c", code])
    assert child.seconds >= 1.2
    if sys.platform == "linux":
        assert child.peak_megabytes is not None
        assert 200 <= child.peak_megabytes < 300
        assert child.others is not None
        assert 0 <= child.others <= 1.5


def test_photos_are_made_once_and_linked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sample, "_PHOTO_SIZE", (80, 60))
    sample._make_photos(tmp_path / "photos", 11)
    files = sorted((tmp_path / "photos").iterdir())
    assert len(files) == 11
    assert len({path.stat().st_ino for path in files}) == 8
    with Image.open(files[-1]) as image:
        assert (image.format, image.size) == ("JPEG", (80, 60))


def test_the_sample_is_spread_over_the_source(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(sample, "_SAMPLE", 10)
    prepared = sample.prepare(tmp_path, str(folder), SourceOptions(), None, ["efficientnet_lite0"])
    names = sorted(path.name for path in folder.iterdir() if path.stem != "broken")
    written = sorted((tmp_path / "pictures").iterdir())
    assert prepared.sample == len(written) == 10
    assert prepared.total == COUNT + 1
    sources = {(folder / name).read_bytes(): at for at, name in enumerate(names)}
    assert min(np.diff([sources[path.read_bytes()] for path in written])) >= 3
    assert np.load(tmp_path / "vectors-0.npy").shape == (10, 1280)


def test_the_model_that_fastembed_is_given_is_the_same_function(
    embedder: Embedder, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    import onnxruntime

    card = embedder.card
    refit(str(embedder.path), list(card.mean), list(card.std), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    files = sorted(folder.glob("*.png"))[:3]
    pixels = np.stack(
        [embedder.pixels(embedder.decode(file.read_bytes(), 40)) for file in files if file.stem != "broken"]
    )
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (card.mean, card.std))
    planes = (pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255 - mean) / std
    (found,) = session.run(None, {session.get_inputs()[0].name: planes})
    np.testing.assert_allclose(found, embedder.run(pixels), atol=1e-5)


def test_a_graph_that_takes_pixels_as_they_are_is_given_them_back(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["planes", "scale", "zero"], ["centred"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(value), name)
        for name, value in (("scale", np.float32(1)), ("zero", np.uint8(128)))
    ]
    takes = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 4, 4, 3])
    gives = helper.make_tensor_value_info("centred", TensorProto.FLOAT, ["batch", 3, 4, 4])
    graph = helper.make_graph(nodes, "pixels", [takes], [gives], constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "in.onnx"
    )
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    refit(str(tmp_path / "in.onnx"), mean, std, tmp_path / "out.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    pixels = np.arange(256, dtype=np.uint8)[np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4))]
    normalised = (pixels.astype(np.float32) / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    (found,) = session.run(None, {session.get_inputs()[0].name: normalised.astype(np.float32)})
    np.testing.assert_array_equal(found, pixels.astype(np.float32) - 128)

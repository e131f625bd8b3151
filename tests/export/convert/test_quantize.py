"""int8 files are small, accurate, and correct on every processor."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cbir.images.decode import decode
from cbir.models.embedder import Embedder
from tests.export.convert.test_rounding import RNG, model
from tests.support.exporting import export, read_record
from tests.support.golden_image import golden_image

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from cbir.export.convert.quantize import _stem


def needs_torch(test: Callable[..., None]) -> Callable[..., None]:
    """Return a test with the marks of those that build a model with torch."""
    missing = pytest.mark.skipif(find_spec("torch") is None, reason="the extra `export` is not installed")
    return missing(pytest.mark.export(pytest.mark.filterwarnings("ignore")(test)))


def test_the_stem_ends_before_the_second_operator_that_mixes_channels() -> None:
    """A depthwise convolution belongs to it, and nodes without a name get one."""
    narrow, wide, deep = ((RNG.normal(size=size), {}) for size in ((4, 3, 3, 3), (6, 4, 1, 1), (2, 6, 1, 1)))
    depthwise = (RNG.normal(size=(4, 1, 3, 3)), {"group": 4})
    graph = model(narrow, depthwise, wide, deep).graph
    graph.node[0].name = ""
    stem = _stem(graph)
    assert {"conv0", "conv1"} <= stem
    assert stem.isdisjoint({"conv2", "conv3"})
    assert graph.node[0].name in stem
    graph = model(narrow, depthwise).graph
    graph.node.append(onnx.helper.make_node("MatMul", ["out1", "out1"], ["more"], name="attention"))
    assert _stem(graph) >= {"conv0", "conv1"}
    assert "attention" not in _stem(graph)


@needs_torch
def test_an_int8_file_is_small_and_accurate(int8_file: Path) -> None:
    assert int8_file.stat().st_size < 4.2e6
    links = read_record(int8_file)["links"]
    assert [(link["before"], link["after"]) for link in links] == [
        ("torch", "onnx fp32"),
        ("onnx fp32", "onnx int8"),
        ("torch", "onnx int8"),
    ]
    whole = links[-1]["agreement"]
    assert whole["cosine_p50"] >= 0.995
    assert whole["neighbour_overlap"] >= 0.93
    assert abs(whole["precision_at_5_change"]) <= 0.02
    export("verify", int8_file)


@needs_torch
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

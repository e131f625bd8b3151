"""fastembed's image embedding with the function of a model file of cbir, over files.

Run by path, in the environment that has fastembed and onnx; it needs nothing of cbir. Takes a JSON object, prints one.
"""

import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

_STANDS_IN_FOR = (
    "Qdrant/resnet50-onnx"  # fastembed takes no other names; of this one it uses the name of the file alone
)
_LEAST_BATCHES = 4
_NORMALISING = ("Cast", "Transpose", "Sub", "Div", "Mul", "Add")


def refit(model_file: str, mean: list[float], std: list[float], target: Path) -> None:
    """Write the model so that it takes float32 (N, 3, H, W), normalised, as fastembed makes it of an image.

    The nodes that turn uint8 pixels into that are dropped; all others stay as they are. A graph that has none, as in
    int8, where the first convolution takes pixels as they are, gets three in front that turn it back into pixels.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(model_file)
    graph = model.graph
    (pixels,) = graph.input
    name, dropped = pixels.name, []
    while True:
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1 or users[0].op_type not in _NORMALISING:
            break
        graph.node.remove(users[0])
        dropped.append(users[0].op_type)
        (name,) = users[0].output
    if "Cast" not in dropped:
        scale, shift = (np.array(values, np.float32).reshape(1, 3, 1, 1) * 255 for values in (std, mean))
        constants = {"scale_back": scale, "shift_back": shift + np.float32(0.5)}  # a cast cuts off what it should round
        graph.initializer.extend(numpy_helper.from_array(values, constant) for constant, values in constants.items())
        for node in (
            helper.make_node("Cast", ["shifted_back"], [name], to=TensorProto.UINT8),
            helper.make_node("Add", ["scaled_back", "shift_back"], ["shifted_back"]),
            helper.make_node("Mul", ["normalised", "scale_back"], ["scaled_back"]),
        ):
            graph.node.insert(0, node)
        name = "normalised"
    side = pixels.type.tensor_type.shape.dim[1].dim_value
    graph.input.remove(pixels)
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, side, side]))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(target))


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Embed files for `seconds` from the first batch on, and return how many that were, in how many seconds.

    Args:
        job: model: the model file; mean, std: of its input; images: folder of files; folder: that with
            `preprocessor_config.json`, where the model is put; seconds: how long; settings: arguments of
            `ImageEmbedding.embed`.
    """
    try:
        import onnx
        from fastembed import ImageEmbedding
    except ImportError as error:
        return {"missing": str(error)}
    folder = Path(job["folder"])
    if not (folder / "model.onnx").exists():
        refit(job["model"], job["mean"], job["std"], folder / "model.onnx")
    model = ImageEmbedding(_STANDS_IN_FOR, cache_dir=job["folder"], specific_model_path=job["folder"])
    files = sorted(str(path) for path in Path(job["images"]).iterdir())
    batch_size = job["settings"]["batch_size"]
    begun = until = float("inf")

    def paths() -> Iterator[str]:
        for number, path in enumerate(cycle(files)):
            if number >= _LEAST_BATCHES * batch_size and time.perf_counter() >= until:
                return
            yield path

    images = 0
    for _ in model.embed(paths(), **job["settings"]):
        images += 1
        if images == batch_size:
            begun = time.perf_counter()
            until = begun + job["seconds"]
    seconds = time.perf_counter() - begun
    versions = {name: version(name) for name in ("fastembed", "onnxruntime", "pillow", "numpy")}
    return {"images": images - batch_size, "seconds": seconds, "versions": {**versions, "onnx": onnx.__version__}}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(json.loads(sys.argv[1]))) + "\n")

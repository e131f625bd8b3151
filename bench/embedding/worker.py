"""A library that turns image files into vectors, or the model of an ingest alone.

Run by path, in the environment that has the library; it needs nothing of cbir then. Takes a JSON object, prints one.
"""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

_STANDS_IN_FOR = "Qdrant/resnet50-onnx"  # fastembed takes no other names; it uses that of the file alone
LEAST_BATCHES = 8
"""A window has at least so many batches after the first, which is not timed, however slow a library is."""
_NORMALISING = ("Cast", "Transpose", "Sub", "Div", "Mul", "Add")
_RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}
_CROPS = {"center": "center", "pad": "border", "squash": "squash"}
_WORDS = ["<|startoftext|>", "<|endoftext|>"]  # a tokenizer has to be there; no text is embedded


@dataclass(frozen=True)
class Library:
    """What embeds the files of a job until its time is over and yields the size of each batch, and how it is used.

    `packages` are those whose versions count. `settings` returns what to try on so many cores, its own defaults first.
    `model` is the model that it has in place of the one that is measured, "" if it has the same.
    """

    embed: Callable[[dict[str, Any], Callable[[], bool]], Iterator[int]]
    packages: tuple[str, ...] = ()
    description: str = ""
    settings: Callable[[int], list[dict[str, Any]]] = lambda cores: []
    model: str = ""


def refit(model_file: str, target: Path) -> None:
    """Write the part of a model that takes float32 (N, 3, H, W), normalised, as fastembed makes it of an image."""
    import onnx
    import onnx.utils

    graph = onnx.load(model_file).graph
    name, before = graph.input[0].name, []
    while len(users := [node for node in graph.node if name in node.input]) == 1 and users[0].op_type in _NORMALISING:
        before.append(users[0].op_type)
        (name,) = users[0].output
    if "Cast" not in before:
        raise ValueError("it gives normalised pixels, and an int8 model takes others")
    onnx.utils.extract_model(model_file, str(target), [name], [output.name for output in graph.output])


def _fastembed(job: dict[str, Any], is_over: Callable[[], bool]) -> Iterator[int]:
    """Yield the size of each batch that fastembed's image embedding has embedded, with the function of the model."""
    import onnx  # noqa: F401 - `refit` needs it
    from fastembed import ImageEmbedding

    folder, rule, batch_size = Path(job["folder"]), job["input"], job["settings"]["batch_size"]
    if not (folder / "model.onnx").exists():
        square = {"height": rule["resize"], "width": rule["resize"]}
        config = {
            "do_resize": True,
            "size": {"shortest_edge": rule["resize"]} if rule["crop"] == "center" else square,
            "resample": _RESAMPLE[rule["interpolation"]],
            "do_center_crop": True,
            "crop_size": rule["size"],
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": job["mean"],
            "image_std": job["std"],
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(config))
        refit(job["model"], folder / "model.onnx")
    model = ImageEmbedding(_STANDS_IN_FOR, cache_dir=str(folder), specific_model_path=str(folder))

    def paths() -> Iterator[str]:
        for path in cycle(_files(job)):
            if is_over():
                return
            yield str(path)

    vectors = model.embed(paths(), **job["settings"])
    while count := sum(1 for _ in islice(vectors, batch_size)):
        yield count


class _Images:
    """A map-style data set of image files."""

    def __init__(self, files: list[Path], transform: Any):
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Any:
        from PIL import Image

        with Image.open(self.files[number]) as image:
            return self.transform(image.convert("RGB"))


def _torch(job: dict[str, Any], is_over: Callable[[], bool]) -> Iterator[int]:
    """Yield the size of each batch that went through the same backbone with random weights, which change no time."""
    import timm
    import torch
    from timm.data import create_transform

    backbone, rule, settings = job["backbone"], job["input"], job["settings"]
    architecture = next((name for name in (backbone, f"tf_{backbone}") if timm.is_model(name)), None)
    if architecture is None:
        raise ImportError(f"timm has no backbone {backbone!r}")
    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    model = timm.create_model(architecture, num_classes=0).eval().to(memory_format=layout)
    transform = create_transform(
        input_size=rule["size"],
        crop_pct=rule["size"] / rule["resize"],
        crop_mode=_CROPS[rule["crop"]],
        interpolation=rule["interpolation"],
        mean=job["mean"],
        std=job["std"],
    )
    images = _Images(_files(job), transform)
    order = list(islice(cycle(range(len(images))), 1_000_000))
    loader = torch.utils.data.DataLoader(images, settings["batch_size"], sampler=order, num_workers=settings["workers"])
    with torch.inference_mode():
        for batch in loader:
            yield len(torch.nn.functional.normalize(model(batch.to(memory_format=layout))).numpy())
            if is_over():
                return


def _sentence_transformers(job: dict[str, Any], is_over: Callable[[], bool]) -> Iterator[int]:
    """Yield the size of each batch embedded by CLIP ViT-B/32, the model that sentence-transformers has for images.

    Its weights are random, which changes no time and needs no download. Its parts are written to the folder of the job
    as the hub has them.
    """
    from PIL import Image
    from sentence_transformers import SentenceTransformer
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    try:
        from sentence_transformers.sentence_transformer.modules import CLIPModel as Module
    except ImportError:  # before 6.0
        from sentence_transformers.models import CLIPModel as Module
    folder, batch_size = Path(job["folder"]), job["settings"]["batch_size"]
    if not (folder / "model.safetensors").exists():
        words, merges = folder / "vocab.json", folder / "merges.txt"
        words.write_text(json.dumps({word: number for number, word in enumerate(_WORDS)}))
        merges.write_text("#version: 0.2\n")
        CLIPProcessor(CLIPImageProcessor(), CLIPTokenizer(str(words), str(merges))).save_pretrained(folder)
        CLIPModel(CLIPConfig()).eval().save_pretrained(folder)
    model = SentenceTransformer(modules=[Module(str(folder))], device="cpu")
    files = cycle(_files(job))
    while not is_over():
        batch = [Image.open(path).convert("RGB") for path in islice(files, batch_size)]
        model.encode(batch, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)
        yield len(batch)


def _cbir(job: dict[str, Any], is_over: Callable[[], bool]) -> Iterator[int]:
    """Yield the size of each batch that a model ran over, as an ingest does, with all files in memory.

    With `decode` they are decoded each time (scaled where the file allows it), else before. Each of the `workers` runs
    the model with its `threads`.
    """
    import numpy as np

    from cbir.models.embedder import Embedder
    from cbir.settings import Settings

    settings, max_megapixels = job["settings"], Settings().max_image_megapixels
    embedder = Embedder(Path(job["model"]), threads=settings["threads"], device=settings["device"])

    def pixels(files: Sequence[bytes]) -> Any:
        return np.stack([embedder.pixels(embedder.decode(data, max_megapixels)) for data in files])

    def work(batch: Any) -> int:
        embedder.run(pixels(batch) if job["decode"] else batch)
        return len(batch)

    files = [path.read_bytes() for path in _files(job)]
    ready, size = files if job["decode"] else pixels(files), settings["batch_size"]
    batches = cycle([ready[start : start + size] for start in range(0, len(ready), size)])
    with ThreadPoolExecutor(settings["workers"]) as pool:
        running = deque(pool.submit(work, next(batches)) for _ in range(2 * settings["workers"]))
        while running:
            yield running.popleft().result()
            if not is_over():
                running.append(pool.submit(work, next(batches)))


def _files(job: dict[str, Any]) -> list[Path]:
    return sorted(Path(job["images"]).iterdir())


OURS = Library(_cbir)
LIBRARIES: Mapping[str, Library] = {
    "fastembed": Library(
        _fastembed,
        ("fastembed", "onnxruntime", "pillow", "numpy", "onnx"),
        "its image embedding as it comes, with the same ONNX function",
        lambda cores: [{"batch_size": batch, "parallel": parallel} for parallel in (None, cores) for batch in (16, 4)],
    ),
    "torch": Library(
        _torch,
        ("torch", "timm", "pillow"),
        "the same backbone, eager, behind a DataLoader with as many workers",
        lambda cores: [
            {"workers": cores, "batch_size": 32, "threads": threads, "channels_last": channels_last}
            for channels_last in (False, True)
            for threads in (None, 1)
        ],
    ),
    "sentence-transformers": Library(
        _sentence_transformers,
        ("sentence-transformers", "transformers", "torch", "pillow"),
        "its image model with random weights, another and larger model than the others have",
        lambda cores: [{"batch_size": 32}],
        "CLIP ViT-B/32",
    ),
}


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Embed files for `seconds` from the first batch on, and `LEAST_BATCHES`; return how many, in how many seconds.

    A job has the `name` of the library, its `settings`, the `model` file, `backbone`, `input`, `mean` and `std` of its
    card, a folder of `images`, and a `folder` that is empty at the first run. `decode` is for the model alone.
    """
    library, limit = LIBRARIES.get(job["name"], OURS), float(job["seconds"])
    begun, spent, images, batches = float("inf"), 0.0, 0, 0

    def is_over() -> bool:
        return time.perf_counter() - begun >= limit and batches >= LEAST_BATCHES

    try:
        for number, count in enumerate(library.embed(job, is_over)):
            if number:
                images, batches = images + count, number
            else:
                begun, spent = time.perf_counter(), time.process_time()
    except ImportError as error:
        return {"missing": str(error)}
    found = {"images": images, "seconds": time.perf_counter() - begun}
    if library is OURS:  # others may start processes
        found["core_seconds"] = time.process_time() - spent
    return {**found, "versions": {name: version(name) for name in library.packages}}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(json.loads(sys.argv[1]))) + "\n")

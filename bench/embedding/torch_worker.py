"""The same backbone in torch, eager, behind a DataLoader and timm's own transform, over files.

Run by path, in the environment that has torch and timm; it needs nothing of cbir. Takes a JSON object, prints one. Its
weights are random, which changes no time.
"""

import json
import sys
import time
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

_CROPS = {"center": "center", "pad": "border", "squash": "squash"}


class Images:
    """A map-style data set of image files."""

    def __init__(self, folder: str, transform: Any):
        self.files = sorted(Path(folder).iterdir())
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Any:
        from PIL import Image

        with Image.open(self.files[number]) as image:
            return self.transform(image.convert("RGB"))


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Embed files for `seconds` from the first batch on, and return how many that were, in how many seconds.

    Args:
        job: backbone: its name in timm, `tf_` in front of it or not; images: folder of files; size, resize, crop,
            interpolation, mean, std: of the model's input; seconds: how long; settings: workers, threads (None:
            torch's own choice), batch_size, channels_last.
    """
    try:
        import timm
        import torch
        from timm.data import create_transform
    except ImportError as error:
        return {"missing": str(error)}
    architecture = next((name for name in (job["backbone"], f"tf_{job['backbone']}") if timm.is_model(name)), None)
    if architecture is None:
        return {"missing": f"timm has no backbone {job['backbone']!r}"}
    settings = job["settings"]
    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    model = timm.create_model(architecture, num_classes=0).eval().to(memory_format=layout)
    transform = create_transform(
        input_size=job["size"],
        crop_pct=job["size"] / job["resize"],
        crop_mode=_CROPS[job["crop"]],
        interpolation=job["interpolation"],
        mean=job["mean"],
        std=job["std"],
    )
    images_in_folder = Images(job["images"], transform)
    order = list(islice(cycle(range(len(images_in_folder))), 1_000_000))
    loader = torch.utils.data.DataLoader(
        images_in_folder, settings["batch_size"], sampler=order, num_workers=settings["workers"]
    )
    begun, until, images = 0.0, 0.0, 0
    with torch.inference_mode():
        for batch in loader:
            vectors = torch.nn.functional.normalize(model(batch.to(memory_format=layout))).numpy()
            if not begun:
                begun = time.perf_counter()
                until = begun + job["seconds"]
                continue
            images += len(vectors)
            if time.perf_counter() >= until:
                break
    seconds = time.perf_counter() - begun
    versions = {name: version(name) for name in ("torch", "timm", "pillow")}
    return {"images": images, "seconds": seconds, "versions": versions}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(json.loads(sys.argv[1]))) + "\n")

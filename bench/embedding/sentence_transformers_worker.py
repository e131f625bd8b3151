"""sentence-transformers' image embedding as it comes, over files: CLIP ViT-B/32, the model that it has for images.

Run by path, in the environment that has it; it needs nothing of cbir. Takes a JSON object, prints one. Its weights are
random, which changes no time and needs no download; it is a larger model than those of cbir.
"""

import json
import sys
import time
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

_WORDS = ["<|startoftext|>", "<|endoftext|>"]  # a tokenizer has to be there; no text is embedded


def make_model(folder: Path) -> Any:
    """Return the model, its parts written to `folder` as the hub has them, unless they are there."""
    from sentence_transformers import SentenceTransformer
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    try:
        from sentence_transformers.sentence_transformer.modules import CLIPModel as Module
    except ImportError:  # before 6.0
        from sentence_transformers.models import CLIPModel as Module
    if not (folder / "model.safetensors").exists():
        words, merges = folder / "vocab.json", folder / "merges.txt"
        words.write_text(json.dumps({word: number for number, word in enumerate(_WORDS)}))
        merges.write_text("#version: 0.2\n")
        CLIPProcessor(CLIPImageProcessor(), CLIPTokenizer(str(words), str(merges))).save_pretrained(folder)
        CLIPModel(CLIPConfig()).eval().save_pretrained(folder)
    return SentenceTransformer(modules=[Module(str(folder))], device="cpu")


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Embed files for `seconds` from the first batch on, and return how many that were, in how many seconds.

    Args:
        job: images: folder of files; folder: for the model; seconds: how long; settings: batch_size.
    """
    try:
        import sentence_transformers  # noqa: F401
        import transformers  # noqa: F401
        from PIL import Image
    except ImportError as error:
        return {"missing": str(error)}
    model = make_model(Path(job["folder"]))
    size = job["settings"]["batch_size"]
    files = cycle(sorted(Path(job["images"]).iterdir()))
    begun, images = 0.0, 0
    while not begun or time.perf_counter() - begun < job["seconds"]:
        batch = [Image.open(path).convert("RGB") for path in islice(files, size)]
        model.encode(batch, batch_size=size, normalize_embeddings=True, show_progress_bar=False)
        if begun:
            images += size
        else:
            begun = time.perf_counter()
    seconds = time.perf_counter() - begun
    versions = {name: version(name) for name in ("sentence-transformers", "transformers", "torch", "pillow")}
    return {"images": images, "seconds": seconds, "versions": versions}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(json.loads(sys.argv[1]))) + "\n")

"""Build one model file: export, verify, write."""

import tempfile
from dataclasses import replace
from pathlib import Path

from cbir.model import Embedder

from .to_onnx import Precision, card_for, export, load_backbone, write
from .verify import lowest_cosine, require_cosine, sample_pictures
from .zoo import Backbone


def build_model(backbone: Backbone, path: Path, precision: Precision) -> float:
    """Export `backbone` to `path` and return the lowest cosine between file and torch, which the card keeps.

    Raises:
        CbirError: The file's vectors are not those of torch; nothing is written.
    """
    pictures = sample_pictures()
    loaded = load_backbone(backbone)
    model = export(loaded, precision)
    card = card_for(loaded, precision)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.onnx"
        write(model, card, draft)
        cosine = lowest_cosine(Embedder(draft), loaded, pictures)
    require_cosine(cosine)
    write(model, replace(card, cosine_to_torch=round(cosine, 7)), path)
    return cosine

"""The card in a model file."""

from pathlib import Path

from cbir.models.embedder import Embedder


def test_the_packaged_model_says_what_it_is(embedder: Embedder, model_file: Path) -> None:
    card = embedder.card
    assert (card.name, card.dimension, card.license, card.random_weights) == (
        "efficientnet_lite0",
        1280,
        "Apache-2.0",
        False,
    )
    assert card.weights_sha256 == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    assert card.to_torch is not None
    assert card.to_torch.cosine_min >= 0.9999
    assert model_file.stat().st_size <= 7.5e6
    assert b"/site-packages/" not in model_file.read_bytes()

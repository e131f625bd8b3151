"""Files of results: their texts."""

import pytest

from cbir.evaluation.result_files import shortened


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("edge:/home/me/index", "edge:…/index"),
        ("faiss:/a/b/c?index=Flat --store 'edge:/x/y'", "faiss:…/c?index=Flat --store 'edge:…/y'"),
        ("https://example.org/a/b/c", "https://example.org/a/b/c"),
        ("./photos and ../b/c and 1/2/3", "./photos and ../b/c and 1/2/3"),
        ("hf://owner/name", "hf://owner/name"),
    ],
)
def test_absolute_paths_are_shortened(text: str, short: str) -> None:
    assert shortened(text) == short

"""`cbir-bench baselines`: misuse is named."""

import pytest

from tests.support.building import store_options
from tests.support.running import Program

pytestmark = pytest.mark.bench


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--baseline", "pinecone"],
            "--baseline pinecone. Choose from: fastembed, torch, sentence-transformers, ",
        ),
        (["--baseline-python", "/no/such/python"], "--baseline-python /no/such/python is not a program"),
        (["--limit", "5"], "--model, --label, --top-classes and --limit need a SOURCE"),
    ],
)
def test_misuse_is_one_line(run: Program, urls: list[str], words: list[str], said: str) -> None:
    code, _, err = run(*store_options(urls), *words)
    assert code == 2 and said in err and len(err.strip().splitlines()) == 1

"""Every public name has an example, and every example in a docstring and in the documentation gives what it says."""

import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cbir
from tests.support.examples import copy_folder, run_examples

ROOT = Path(__file__).parents[2]
PUBLIC = (
    "CbirError",
    "Collection",
    "CollectionInfo",
    "DamageError",
    "DiskFullError",
    "Embedder",
    "Hit",
    "HitGroup",
    "Hits",
    "ImageError",
    "IngestReport",
    "Policy",
    "Settings",
    "SourceOptions",
    "StoredImage",
    "UsageError",
    "ZeroShotLabel",
    "collections",
    "drop",
    "open",
)
"""What the design says; a new name goes here, in `__all__` and in docs/python.md."""

WITH_METHODS = (cbir.Collection, cbir.Embedder, cbir.Hit, cbir.Hits, cbir.StoredImage)
PAGE = ROOT / "docs" / "python.md"


def methods(owner: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class of cbir has, its own and those of its bases in cbir."""
    for base in owner.__mro__:
        if base.__module__.startswith("cbir."):
            for name, value in vars(base).items():
                if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    yield f"{owner.__name__}.{name}", value


def documented() -> dict[str, Any]:
    """Return what has a docstring and is public, by name."""
    found: dict[str, Any] = {"cbir": cbir}
    for name in cbir.__all__:
        value = getattr(cbir, name)
        found[name] = value
        if inspect.isclass(value):
            found |= dict(methods(value))
    return found


DOCUMENTED = documented()
EXAMPLES = {
    name: inspect.getdoc(value) or ""
    for name, value in DOCUMENTED.items()
    if doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")
}


@pytest.fixture
def names(example_folder: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What an example may use: `cbir`, and `photos` in a folder of its own."""
    copy_folder(example_folder, tmp_path)
    with cbir.open("./index") as photos:
        yield {"__name__": "__main__", "cbir": cbir, "photos": photos}


def test_all_that_is_public_is_named() -> None:
    assert tuple(cbir.__all__) == PUBLIC
    assert set(dir(cbir)) == {*PUBLIC, "__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", cbir.__version__)
    with pytest.raises(AttributeError, match="no attribute 'opened'"):
        cbir.opened  # noqa: B018
    starred: dict[str, Any] = {}
    exec("from cbir import *", starred)  # noqa: S102
    assert set(PUBLIC) == starred.keys() - {"__builtins__"}


@pytest.mark.parametrize("name", ["cbir", *PUBLIC])
def test_a_public_name_has_a_docstring_with_an_example(name: str) -> None:
    assert "Example:\n" in inspect.getdoc(DOCUMENTED[name])
    assert name in EXAMPLES


@pytest.mark.parametrize("owner", WITH_METHODS, ids=lambda owner: owner.__name__)
def test_a_public_method_has_a_docstring_with_an_example(owner: type) -> None:
    found = dict(methods(owner))
    assert all(inspect.getdoc(value) for value in found.values())
    functions = {name for name, value in found.items() if inspect.isfunction(value)}
    assert functions
    assert functions <= EXAMPLES.keys()
    assert all("Example:\n" in inspect.getdoc(found[name]) for name in functions)


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"Hit.image"}))  # that of StoredImage
def test_an_example_gives_what_it_says(name: str, names: dict[str, Any]) -> None:
    run_examples(EXAMPLES[name], name, names)


def test_the_page_on_python(names: dict[str, Any]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 5
    run_examples("\n".join(blocks), PAGE.name, names)
    assert len(text.splitlines()) <= 160
    for name in PUBLIC:
        assert f"cbir.{name}" in text or f"`{name}`" in text, f"{PAGE.name} says nothing of {name}"

"""The project speaks plain technical English: words that nobody else uses for a thing stay out of it.

A word here has one meaning only, so that a test can tell. All others are for the reader's eye.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_LINE = 140
TEXTS = ("*.py", "*.md", "*.css", "*.js", "*.html", "Makefile", "*.yml", "Dockerfile", ".env.example")

NAMES = {
    "asked": "requested",
    "at": "index, or the name of what it counts",
    "beside": "search_during_ingest",
    "brought": "uploaded",
    "effort": "ef",
    "figures": "metrics, numbers or console",
    "gone": "missing",
    "known": "stored_ids",
    "least": "min_score",
    "one": "the name of what it is",
    "onward": "next",
    "oracle": "ground_truth",
    "peers": "baselines",
    "picture": "image",
    "pictures": "images",
    "shelf": "upload_cache",
    "sink": "writer",
    "thing": "point",
    "told": "formatted, reported",
    "way": "connection, method",
}
"""What no variable, function, class or module is named, alone or as a part of a name, and what is used instead."""

WHOLE_NAMES = {"at", "known", "least", "one", "thing", "there", "way"}
"""Those of them that are fine as a part of a name, such as in `at_least`."""

TEXT = re.compile(r"\b(effort|shel(?:f|ves)|Brought|onward|oracles?|Sinks?|IndexBuilder|ServerSink|pictures?)\b", re.I)
"""What no comment, message or page says."""

ALLOWED = re.compile(
    r"""~/Pictures|<picture>|[`"]--(effort|pictures)[`"]|alias=(AliasChoices\("images", )?"pictures\""""
)
"""Names that other people gave, old options that are still accepted, and a field of published model files."""


def _files(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    found = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in found if path.exists() and ROOT / "tests" not in path.parents]


AREAS = ("cbir", "ingest", "export", "ui", "serve", "bench", "docs", "")
"""The folders of the project; "" are the files at its root."""


def _in_area(area: str, *patterns: str) -> list[Path]:
    return [path for path in _files(*patterns) if _area(path) == area]


def _area(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first if first in AREAS else ""


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each name that a file gives to something, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)):
                yield node.lineno, name


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def _bad_name(name: str) -> str | None:
    """Return the word of a name that is not used here, None if all are fine."""
    whole = name.strip("_").lower()
    words = [word for word in _words(name) if word in NAMES and (word not in WHOLE_NAMES or word == whole)]
    return words[0] if words else None


@pytest.mark.parametrize("area", AREAS)
def test_names_are_those_of_the_field(area: str) -> None:
    wrong = []
    for path in _in_area(area, "*.py"):
        found = [*_names(ast.parse(path.read_text())), (0, path.stem)]
        wrong += [f"{path}:{line}: {name} (use: {NAMES[word]})" for line, name in found if (word := _bad_name(name))]
    assert not wrong


@pytest.mark.parametrize("area", AREAS)
def test_no_private_word_is_left(area: str) -> None:
    wrong = []
    for path in _in_area(area, *TEXTS):
        lines = [ALLOWED.sub("", line) for line in path.read_text().splitlines()]
        wrong += [f"{path}:{i}: {line.strip()}" for i, line in enumerate(lines, 1) if TEXT.search(line)]
    assert not wrong


def test_a_line_of_prose_fits_a_screen() -> None:
    lines = [(path, i, line) for path in _files("*.md") for i, line in enumerate(path.read_text().splitlines(), 1)]
    long = [(path, i, line) for path, i, line in lines if len(line) > LONGEST_LINE]
    assert not [
        f"{path}:{i}: {len(line)} characters"
        for path, i, line in long
        if not (path.parent.name == "report" and line.startswith("| "))  # a row of a table that was measured
    ]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("one", "one"),
        ("_one", "one"),
        ("at_least", None),
        ("ServerSink", "sink"),
        ("max_effort", "effort"),
        ("ef", None),
    ],
)
def test_a_name_is_read_by_its_words(name: str, word: str | None) -> None:
    assert _bad_name(name) == word

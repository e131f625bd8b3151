"""The commands and links in README.md and docs/, and the folder in which the commands run."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, Value
from typer.main import get_command

from cbir.terminal import with_new_names
from tests.support.examples import SampleImages
from tests.support.running import PROGRAMS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
_SEPARATORS = {"&&", "|", ";", ">>", ">"}


@dataclass(frozen=True)
class Command:
    """One command in a block, without its comment, its environment and what follows a pipe."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"

    @property
    def reason_not_to_run(self) -> str | None:
        """What the command needs besides local files and seconds."""
        program, text = self.words[0], " ".join(self.words)
        if program not in ("cbir-ingest", "cbir-search"):
            return {"cbir-ui": "serves until it is stopped", "cbir-export": "needs torch"}.get(program, "takes minutes")
        if re.search(r"(https?|s3|hf)://", text) or "..." in text:
            return "needs the network"
        if "sample://" in text or "--watch" in text:
            return "takes minutes"
        return "needs torch for its model" if re.search(r"--model \S+\.onnx", text) else None


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands in the bash blocks of a page."""
    for block in blocks(page.read_text(encoding="utf-8"), "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and _ASSIGNMENT.fullmatch(words[0]):
                words = words[1:]
            end = next((i for i, word in enumerate(words) if word in _SEPARATORS), len(words))
            if words:
                yield Command(page.name, tuple(words[:end]))


def parse(words: tuple[str, ...]) -> set[str]:
    """Parse a command line of the project as the program does, and return the old names that it uses.

    Raises:
        Exception: Typer's or cbir's error for a wrong call.
    """
    program, *arguments = words
    names = {word.partition("=")[0] for word in arguments}  # Typer empties the list
    module = import_module(PROGRAMS[program].partition(":")[0])
    command: Any = get_command(module.app)
    renamed = getattr(module, "RENAMED", {})
    hidden = renamed.keys() & names
    context = command.make_context(program, with_new_names(arguments, renamed))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        if command.hidden:
            hidden.add(name)
        context = command.make_context(name, rest, parent=context)
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            hidden |= {*parameter.opts, *parameter.secondary_opts} & names
    return hidden


def old_names(program: str) -> set[str]:
    """Return the names that a program accepts and does not show: hidden commands and options, and renamed ones."""

    def hidden(command: Any) -> Iterator[str]:
        for inner in getattr(command, "commands", {}).values():
            yield from [inner.name] if inner.hidden else hidden(inner)
        for parameter in command.params:
            yield from parameter.opts if getattr(parameter, "hidden", False) else ()

    module = import_module(PROGRAMS[program].partition(":")[0])
    return {*hidden(get_command(module.app)), *getattr(module, "RENAMED", ())}


def make_workspace(folder: Path, sample_images: SampleImages) -> None:
    """Write the files that the documented commands read: photos/, query.jpg, list.csv and data.parquet."""
    files = [data for _, _, data in sample_images[:24]]
    rows = []
    for i, data in enumerate(files):
        label = ("Shoes", "Boots", "Sandals")[i % 3]
        path = folder / "photos" / label / f"{i // 3 + 1}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        rows.append({"image": {"bytes": data, "path": path.name}, "subCategory": label})
    (folder / "query.jpg").write_bytes(files[0])
    lines = [f"photos/Shoes/{i}.jpg,{2010 + i},{'red' if i % 2 else 'blue'}" for i in range(1, 9)]
    (folder / "list.csv").write_text("\n".join(["path,year,color", *lines]) + "\n")
    features = Features({"image": Image(), "subCategory": Value("string")})
    Dataset.from_list(rows, features=features).to_parquet(folder / "data.parquet")

"""Every command line that an earlier version accepted is still accepted.

`fixtures/command-lines-*.json` is what `describe` returned for every program at the commit in the file's name.
"""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.main import get_command

from tests.support.running import PROGRAMS, run_program

FILE = Path(__file__).parents[1] / "fixtures" / "command-lines-7c67b1c.json"
RECORDED = [(program, command) for program, commands in json.loads(FILE.read_text()).items() for command in commands]


def command_line(program: str) -> Any:
    """Return the click command behind an installed program."""
    return get_command(import_module(PROGRAMS[program].partition(":")[0]).app)


def renamed(program: str) -> dict[str, str]:
    """Return the new names of a program's commands and options by their old ones, which are still accepted."""
    return getattr(import_module(PROGRAMS[program].partition(":")[0]), "RENAMED", {})


def describe(command: Any, words: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield the words of every command at or below `command`, with its arguments and options."""
    if hasattr(command, "commands"):
        for name, inner in sorted(command.commands.items()):
            yield from describe(inner, (*words, name))
        return
    options, arguments = [], []
    for parameter in command.params:
        many = getattr(parameter, "multiple", False) or parameter.nargs == -1
        described = {"many": many, "required": parameter.required, "choices": choices_of(parameter)}
        if parameter.param_type_name == "option":
            names = sorted([*parameter.opts, *parameter.secondary_opts])
            options.append({"names": names, "takes_value": not parameter.is_flag, **described})
        else:
            arguments.append(described)
    yield {"words": list(words), "arguments": arguments, "options": options}


def choices_of(parameter: Any) -> list[str]:
    """Return the words that a parameter takes, none if it takes any. Typer says it in one of two ways."""

    def literals(annotation: Any) -> Iterator[str]:
        for inner in get_args(annotation):
            yield from [inner] if isinstance(inner, str) else literals(inner)

    if hasattr(parameter, "type_descriptor"):
        return sorted(literals(parameter.type_descriptor.annotation))
    return sorted(map(str, getattr(parameter.type, "choices", ())))


@pytest.mark.parametrize(
    ("program", "command"),
    [pytest.param(program, command, id=" ".join([program, *command["words"]])) for program, command in RECORDED],
)
def test_an_old_command_line_is_still_accepted(program: str, command: dict[str, Any]) -> None:
    """Hidden, renamed or not: every option takes what it took, and no argument or option has become required."""
    new_names = renamed(program)
    words = [new_names.get(word, word) for word in command["words"]]
    found = [other for other in describe(command_line(program)) if other["words"] == words]
    assert found, f"there is no {program} {' '.join(command['words'])} any more"
    (now,) = found
    for option in command["options"]:
        for name in (new_names.get(name, name) for name in option["names"]):
            same = next((other for other in now["options"] if name in other["names"]), None)
            assert same, f"{name} is not accepted any more"
            assert same["takes_value"] == option["takes_value"], name
            assert same["many"] or not option["many"], f"{name} cannot be given several times any more"
            assert set(same["choices"]) >= set(option["choices"]) or not same["choices"], name
            assert option["required"] or not same["required"], f"{name} has become required"
    old_names = {new_names.get(name, name) for option in command["options"] for name in option["names"]}
    for option in now["options"]:
        assert not option["required"] or old_names & set(option["names"]), f"{option['names']} is new and required"
    assert len(now["arguments"]) >= len(command["arguments"])
    for i, argument in enumerate(now["arguments"]):
        before = command["arguments"][i] if i < len(command["arguments"]) else None
        assert not argument["required"] or (before and before["required"]), f"argument {i + 1} has become required"
        assert not before or argument["many"] or not before["many"], f"argument {i + 1} is one alone now"


@pytest.mark.parametrize("program", sorted({program for program, _ in RECORDED}))
def test_words_that_every_command_accepted_are_still_accepted(program: str) -> None:
    for words in (["-h"], ["--help"], ["--insecure", "--help"]):
        assert "Usage" in run_program(program, *words)

"""`cbir-export` as a program."""

from typing import Any

import pytest
from cbir.export.command import app


@pytest.mark.parametrize("command", ["list", "build", "verify", "compare", "table", "head", "train"])
def test_the_help_of_a_command_has_an_example(command: str, capsys: Any) -> None:
    app([command, "--help"], standalone_mode=False)
    assert f"Example: cbir-export {command}" in capsys.readouterr().out


def test_the_help_groups_the_commands(capsys: Any) -> None:
    app(["--help"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert printed.index("Build a model file") < printed.index("Check model files") < printed.index("Train for your")

"""README.md and docs/: every command exists as written, those that need only files run, and links lead somewhere."""

import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import cbir
from cbir.terminal import EXIT_CODES
from tests.support.documentation import PAGES, ROOT, Command, blocks, commands, make_workspace, old_names, parse
from tests.support.examples import SampleImages
from tests.support.running import PROGRAMS, run_here

COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands(page)))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
OTHER_PROGRAMS = {"curl", "docker", "echo", "source"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_documented_command_exists(command: Command) -> None:
    program, *words = command.words
    if program in PROGRAMS:
        assert not parse(command.words), "the documentation uses an old name"
    elif program == "make":
        assert set(words) <= set(TARGETS)
    elif program == "pip":
        (extras,) = re.findall(r"\.\[(.*)\]", " ".join(words))
        assert set(extras.split(",")) <= EXTRAS.keys()
    elif program == "python":
        assert words[0] == "-m"
        assert find_spec(words[1])
    else:
        assert program in OTHER_PROGRAMS


def run(command: Command) -> None:
    module, _, main = PROGRAMS[command.words[0]].partition(":")
    done = run_here(getattr(import_module(module), main), *command.words)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def workspace(sample_images: SampleImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the files that the commands read, and an index of ./photos."""
    monkeypatch.chdir(tmp_path)
    make_workspace(tmp_path, sample_images)
    run(Command("", ("cbir-ingest", "./photos")))
    yield tmp_path


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(not command.reason_not_to_run for command in commands(page))], ids=str
)
def test_the_commands_of_a_page_run_one_after_the_other(page: Path, workspace: Path) -> None:
    for command in commands(page):
        if not command.reason_not_to_run:
            run(command)


def test_most_commands_of_the_two_main_programs_run() -> None:
    main = [command for command in COMMANDS if command.words[0] in ("cbir-ingest", "cbir-search")]
    assert sum(not command.reason_not_to_run for command in main) > 0.5 * len(main)
    assert len(main) > 30


def test_the_python_of_the_readme_runs(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks(PAGES[0].read_text(encoding="utf-8"), "python")
    names: dict[str, object] = {}
    exec(block, names)  # noqa: S102
    assert "Shoes/" in capsys.readouterr().out
    opened = names["photos"]
    assert isinstance(opened, cbir.Collection)
    opened.close()


@pytest.mark.parametrize(
    "words",
    [("cbir-search", "query.jpg", "--no-such-option"), ("cbir-ingest", "colections"), ("cbir-ingest", "verify", "x")],
)
def test_a_command_that_does_not_exist_is_found(words: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match=r"(?i)no such option|did you mean|unexpected"):
        parse(words)


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)):
        name, _, anchor = link.partition("#")
        if name.startswith("http"):
            continue
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings], link


def test_the_readme_leads_to_every_page() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name}" not in text] == []
    assert 700 < len(text.split()) < 1000


def test_the_exit_codes_are_documented() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    table = text.partition("## Exit codes")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == re.findall(r"\b\d+\b", EXIT_CODES)


def test_the_old_names_are_documented() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8").partition("## Old names")[2]
    for program in PROGRAMS:
        (item,) = re.findall(rf"^- `{program}`: (.*?)(?=^- |\Z)", text, re.MULTILINE | re.DOTALL) or [""]
        assert old_names(program) <= set(re.findall(r"[\w-]+", item)), program


def test_old_names_are_found() -> None:
    assert "--threshold" in old_names("cbir-search")
    assert parse(("cbir-search", "query.jpg", "--threshold", "0.5")) == {"--threshold"}

"""Options that several commands have."""

import json
import os
import stat
from pathlib import Path

import pytest
from cbir.bench.core.options import MOST_THREADS, json_target, numbers

from cbir.errors import UsageError
from tests.support.building import both
from tests.support.running import Program


@pytest.mark.parametrize("text", ["", "0", "1,", "8;1", "-1", "1000"])
def test_threads_that_are_no_list(text: str) -> None:
    with pytest.raises(UsageError, match="--threads"):
        numbers("--threads", text, MOST_THREADS)
    assert numbers("--threads", "8, 1,8", MOST_THREADS) == [8, 1]


def test_json_goes_to_a_file_or_to_standard_output(tmp_path: Path) -> None:
    assert (json_target(None), json_target("-")) == (None, "-")
    assert json_target(str(tmp_path / "out.json")) == str(tmp_path / "out.json")
    with pytest.raises(UsageError, match="--json"):
        json_target(str(tmp_path))


def test_a_target_that_cannot_be_written_is_refused_first(made: Path, tmp_path: Path, run: Program) -> None:
    for target in (tmp_path, tmp_path / "missing" / "parity.json"):
        code, out, err = run("parity", "--store", both(made)[0], "--json", target)
        assert (code, out, "standard output" in err) == (2, "", True)


def test_only_a_file_is_replaced_and_a_link_to_one_stays(made: Path, tmp_path: Path, run: Program) -> None:
    words = "parity", "--store", both(made)[0], "--queries", 5, "--json"
    pipe, link, dangling, loop = (tmp_path / name for name in ("pipe", "link", "dangling", "loop"))
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    loop.symlink_to(loop)
    for target in (pipe, link, loop, tmp_path / ("n" * 300)):
        code, out, err = run(*words, target)
        assert (code, out, err.count("\n")) == (2, "", 1), target
    assert "link is not a file" in run(*words, link)[2]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    dangling.symlink_to(tmp_path / "real.json")
    for _ in range(2):
        assert run(*words, dangling)[0] == 0
        assert dangling.is_symlink()
        assert json.loads((tmp_path / "real.json").read_text())["benchmark"] == "parity"

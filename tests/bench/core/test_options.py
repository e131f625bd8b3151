"""Options that several commands share."""

from pathlib import Path

import pytest
from cbir.bench.core.options import STDOUT, json_target, numbers

from cbir.errors import UsageError


def test_numbers_are_unique_and_in_order() -> None:
    assert numbers("--batch", "8, 1,8", 100) == [8, 1]


@pytest.mark.parametrize("text", ["", "0", "101", "1,,2", "-1", "1.5", "one"])
def test_other_texts_are_no_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="--batch"):
        numbers("--batch", text, 100)


def test_a_result_goes_to_a_file_in_an_existing_folder(tmp_path: Path) -> None:
    target = str(tmp_path / "result.json")
    assert (json_target(None), json_target(STDOUT), json_target(target)) == (None, STDOUT, target)
    for wrong in (tmp_path, tmp_path / "missing" / "result.json", tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match="--json"):
            json_target(str(wrong))

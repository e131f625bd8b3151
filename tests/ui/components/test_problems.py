"""Errors as a sentence for a visitor."""

import pytest
from cbir.ui.components import problems

from cbir.errors import CbirError, DamageError


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (CbirError("the engine failed in /srv/data/index/edge: gone"), "The engine failed in edge: gone."),
        (CbirError("/srv/x/manifest.json: missing"), "Manifest.json: missing."),
        (
            CbirError("https://me:secret@host:6333 gives no answer; is it up?"),
            "Https://host:6333 gives no answer; is it up?",
        ),
        (CbirError("two\n  lines"), "Two lines."),
        (CbirError("3 of 4 / 5 files"), "3 of 4 / 5 files."),
    ],
)
def test_a_sentence_contains_no_folders_and_no_passwords(error: CbirError, shown: str) -> None:
    assert problems.sentence(error) == shown


def test_damage_is_reported_without_a_path() -> None:
    assert "/" not in problems.sentence(DamageError("/srv/index/photos/000001/log/000001.log: missing"))


def test_text_is_escaped_for_markdown() -> None:
    assert problems.literal("a_b <b> $x$ :red[é]") == r"a\_b \<b\> \$x\$ \:red\[é\]"

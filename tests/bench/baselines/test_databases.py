"""Databases that are measured: each builds, opens, searches and grows its index."""

from pathlib import Path

import pytest
from cbir.bench.baselines.databases import DATABASES

from tests.bench.baselines.conftest import finds_everything


@pytest.mark.parametrize("name", list(DATABASES))
def test_a_database_finds_what_was_built_and_what_was_added_after_it_is_opened_again(name: str, tmp_path: Path) -> None:
    finds_everything(name, DATABASES[name], tmp_path)

"""Names of collections become names of folders."""

import pytest

from cbir.errors import UsageError
from cbir.index.names import MARKER, alias_of, check_collection, collection_name


def test_collection_names_are_safe() -> None:
    assert collection_name("my photos/2024", "m") == "my_photos_2024-m"
    assert collection_name("../..", "m") == "_..-m"
    assert collection_name("фото", "m") == "фото-m"
    assert collection_name("ф" * 300, "m") == "ф" * 100
    for name in (collection_name("../..", "m"), collection_name("", ""), collection_name("ф" * 300, "m")):
        check_collection(name)


@pytest.mark.parametrize("name", ["", ".a", "a/b", "a b", "ф" * 101, MARKER])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="Use up to 200 letters"):
        check_collection(name)


def test_a_data_set_has_an_alias_unless_its_collection_has_that_name() -> None:
    assert alias_of("my photos", "my_photos-m") == "my_photos"
    assert alias_of("photos", "photos") == ""

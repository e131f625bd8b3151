"""API keys."""

from cbir.serve.keys import hashed, is_one_of, new_key


def test_a_key_matches_its_hash_and_nothing_else() -> None:
    key, other = new_key(), new_key()
    hashes = [hashed(other), hashed(key)]
    assert key != other and len(key) >= 43
    assert is_one_of(key, hashes) and is_one_of(other, hashes)
    assert not is_one_of(new_key(), hashes)
    assert not is_one_of("", hashes) and not is_one_of(key, [])


def test_a_hash_is_kept_and_is_no_key() -> None:
    key = hashed("a key with letters")
    assert hashed(key) == key and "letters" not in key
    assert not is_one_of(key, [key]), "who reads the settings could log in"


def test_any_text_can_be_a_key() -> None:
    assert is_one_of("\udcff schlüssel", [hashed("\udcff schlüssel")])

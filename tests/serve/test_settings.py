"""Settings of `cbir-serve`."""

import pytest
from cbir.serve.keys import is_one_of
from cbir.serve.settings import ServeSettings

from cbir.errors import UsageError


def test_lists_and_keys_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBIR_READ_KEYS", "a secret of twenty, another secret of mine")
    monkeypatch.setenv("CBIR_CORS_ORIGINS", "https://shop.example.org, http://localhost:3000")
    monkeypatch.setenv("CBIR_WORKERS", "3")
    settings = ServeSettings(_env_file=None)
    assert settings.workers == 3, "the settings of every command are read too"
    assert settings.cors_origins == ("https://shop.example.org", "http://localhost:3000")
    assert is_one_of("another secret of mine", settings.read_keys)
    assert "secret" not in repr(settings), "a key is hashed as soon as it is read"
    assert settings.write_keys == ()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CBIR_READ_KEYS", "short", "CBIR_READ_KEYS in the environment: .*at least 16 characters.*cbir-serve key"),
        ("CBIR_CORS_ORIGINS", "*", "list of origins"),
        ("CBIR_CORS_ORIGINS", "https://a.org/path", "list of origins"),
        ("CBIR_RATE_LIMIT", "0", "CBIR_RATE_LIMIT in the environment"),
        ("CBIR_MAX_REQUESTS", "many", "CBIR_MAX_REQUESTS in the environment"),
        ("CBIR_MAX_BODY_MEGABYTES", "-1", "CBIR_MAX_BODY_MEGABYTES in the environment"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message) as error:
        ServeSettings(_env_file=None)
    assert "\n" not in str(error.value)
    assert name == "CBIR_MAX_REQUESTS" or value not in str(error.value) or value in "*0-1"

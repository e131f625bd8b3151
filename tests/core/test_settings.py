"""Settings from the environment."""

from pathlib import Path

import pytest

from cbir.errors import UsageError
from cbir.settings import DEFAULT_STORES, Settings


def test_factory_strings_keep_their_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBIR_STORES", "edge:i, faiss:i/a?index=IVF8,Flat,http://h:6333")
    assert Settings().stores == ("edge:i", "faiss:i/a?index=IVF8,Flat", "http://h:6333")
    monkeypatch.setenv("CBIR_STORES", "edge:./i,cbir+https://h/photos,cbir+http://h:8000")
    assert Settings().stores == ("edge:./i", "cbir+https://h/photos", "cbir+http://h:8000")
    monkeypatch.setenv("CBIR_STORES", "")
    assert Settings().store_urls == DEFAULT_STORES
    monkeypatch.setenv("CBIR_WORKERS", "many")
    with pytest.raises(UsageError, match="CBIR_WORKERS"):
        Settings()


def test_the_old_name_of_the_device_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CBIR_PROVIDER=openvino\n")
    assert Settings().device == "openvino"
    monkeypatch.setenv("CBIR_DEVICE", "cpu")
    assert Settings().device == "cpu"
    assert Settings(device="cuda").device == "cuda"
    monkeypatch.setenv("CBIR_DEVICE", "gpu")
    with pytest.raises(UsageError, match="CBIR_DEVICE in the environment: Input should be 'auto', 'cpu'"):
        Settings()


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CBIR_INSECURE", "1")
    monkeypatch.setenv("CBIR_SERVER_TIMEOUT_SECONDS", "7")
    monkeypatch.setenv("CBIR_SERVER_CA", str(tmp_path / "ca.pem"))
    settings = Settings()
    assert (settings.insecure, settings.server_timeout_seconds, settings.server_ca) == (True, 7, tmp_path / "ca.pem")
    monkeypatch.setenv("CBIR_SERVER_TIMEOUT_SECONDS", "0")
    with pytest.raises(UsageError, match="CBIR_SERVER_TIMEOUT_SECONDS in the environment: Input should be greater"):
        Settings()

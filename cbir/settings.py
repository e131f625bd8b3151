"""Settings from the environment and a `.env` file. A command's options take precedence."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cbir.devices import DeviceChoice, PrecisionChoice
from cbir.errors import UsageError
from cbir.text import redacted

DEFAULT_STORES = ("edge:./index", "faiss:./index/faiss")
MAX_MEGAPIXELS = 40.0


def default_cache() -> Path:
    """Return `cbir` in the user's cache folder, for files that can be created again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cbir"


class Settings(BaseSettings):
    """Settings for all commands.

    Example:
        >>> settings = cbir.Settings(workers=1, allow_private_addresses=True)
        >>> photos = cbir.open("./index", settings=settings)
        >>> photos.settings.workers
        1

    Values that are not given come from the environment (`CBIR_WORKERS` and so on), then from `.env`, then from the
    defaults. `CBIR_STORES` is a comma-separated list; its default is `QDRANT_URL` if that is set, else both embedded
    stores in `./index`. `CBIR_TEXT_MODEL` is the file of a text tower that is not next to its model. `CBIR_REPORTS` is
    the folder of `cbir-bench`'s latest reports. `CBIR_API_KEY` is the key for stores such as `cbir+https://...`.
    `CBIR_LOGIN_ALLOW` lists the e-mail addresses and domains that may log in to a page with a login.
    """

    model_config = SettingsConfigDict(
        env_prefix="CBIR_",
        env_file=".env",
        env_ignore_empty=True,  # Docker Compose passes on what is not set as an empty text
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    stores: Annotated[tuple[str, ...], NoDecode] = ()
    max_image_megapixels: float = Field(default=MAX_MEGAPIXELS, gt=0, le=178)
    workers: int | None = Field(default=None, ge=1, le=256)
    threads: int = Field(default=1, ge=1, le=256)
    batch_size: int = Field(default=4, ge=1, le=1024)
    server_retry_seconds: float = Field(default=120.0, ge=0)
    server_timeout_seconds: int | None = Field(default=None, ge=1, le=3600)
    server_ca: Path | None = None
    insecure: bool = False
    allow_private_addresses: bool = False
    device: DeviceChoice = Field(default="auto", validation_alias=AliasChoices("CBIR_DEVICE", "CBIR_PROVIDER"))
    precision: PrecisionChoice = "auto"
    text_model: Path | None = None
    cache: Path = Field(default_factory=default_cache)
    reports: Path = Field(default_factory=lambda data: data["cache"] / "reports")
    login_allow: Annotated[tuple[str, ...], NoDecode] = ()
    api_key: SecretStr | None = None
    qdrant_url: str | None = Field(default=None, validation_alias="QDRANT_URL")
    qdrant_api_key: SecretStr | None = Field(default=None, validation_alias="QDRANT_API_KEY")

    @field_validator("stores", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_stores(value) if isinstance(value, str) else value

    @field_validator("login_allow", mode="before")
    @classmethod
    def _split_login(cls, value: object) -> object:
        return split_list(value)

    @field_validator("login_allow")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[^\s@]*@?[\w-]+(\.[\w-]+)*", address) for address in value):
            raise ValueError("use a comma-separated list of addresses or domains: ann@example.org,example.com")
        return tuple(address.lower().removeprefix("@") for address in value)

    @field_validator("cache", "reports", "server_ca", "text_model")
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    if not TYPE_CHECKING:  # type checkers take the arguments from the fields

        def __init__(self, **values: object):
            fields = type(self).model_fields
            aliases = (field.validation_alias for field in fields.values())
            allowed = {*fields, *(alias for alias in aliases if isinstance(alias, str))}
            for name in values:
                if name not in allowed and not name.startswith("_"):  # pydantic has options such as `_env_file`
                    raise UsageError(f"unknown setting {name!r}; the settings are: {', '.join(fields)}")
            try:
                super().__init__(**values)
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"cannot read the settings in .env: {error}") from None
            except ValidationError as error:
                first = error.errors(include_input=False)[0]
                field = str(first["loc"][0]).lower().removeprefix("cbir_")
                place = f"the setting {field}" if field in values else f"{_named(field)} in the environment"
                raise UsageError(f"{place}: {first['msg']}") from None

    @property
    def store_urls(self) -> tuple[str, ...]:
        """The stores to use if a command names none."""
        return self.stores or ((self.qdrant_url,) if self.qdrant_url else DEFAULT_STORES)


def split_list(value: object) -> object:
    """Return the parts of a comma-separated list; a value that is no text is returned as it is."""
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def split_stores(text: str) -> tuple[str, ...]:
    """Return the store URLs of a comma-separated list. A comma without a scheme after it is part of a URL."""
    return tuple(part.strip() for part in re.split(r",(?=\s*[a-z][a-z+]+:)", text) if part.strip())


def require_single_stores(urls: Sequence[str]) -> None:
    """Raise `UsageError` if a `--store` names several stores."""
    for url in urls:
        if split_stores(url) != (url,):
            raise UsageError(f"--store {redacted(url)}: only one store is allowed. Repeat --store for each store")


def _named(field: str) -> str:
    name = field.upper()
    return name if name.startswith("QDRANT") else f"CBIR_{name.removeprefix('CBIR_')}"

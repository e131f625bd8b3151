"""Settings of `cbir-serve`: those of every command, and the keys and limits of the HTTP API."""

import re
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from cbir.settings import Settings, split_list

from . import keys

_MIN_KEY = 16
_ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?")


class ServeSettings(Settings):
    """Settings for `cbir-serve`, from the environment (`CBIR_READ_KEYS` and so on) and `.env`.

    Attributes:
        read_keys: Keys that may search and read, hashed. Without any, everybody may.
        write_keys: Keys that may also add, change and delete, hashed. Without any, nobody may.
        cors_origins: Origins of the web pages whose scripts may use the API.
        hosts: The host names that requests may be for; empty for any.
        rate_limit: Requests a second for each client address; None for any number.
        max_body_megabytes: The largest body of a request.
        max_requests: How many requests are answered at the same time; further ones are refused.
        max_batch: The largest number of queries, images, texts or ids in one request.
        body_seconds: How long a client may take to send a body.
    """

    read_keys: Annotated[tuple[str, ...], NoDecode] = ()
    write_keys: Annotated[tuple[str, ...], NoDecode] = ()
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    hosts: Annotated[tuple[str, ...], NoDecode] = ()
    rate_limit: float | None = Field(default=None, gt=0)
    max_body_megabytes: float = Field(default=32.0, gt=0, le=1024)
    max_requests: int = Field(default=128, ge=1, le=10_000)
    max_batch: int = Field(default=256, ge=1, le=10_000)
    body_seconds: float = Field(default=30.0, gt=0, le=3600)

    @field_validator("read_keys", "write_keys", "cors_origins", "hosts", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return split_list(value)

    @field_validator("read_keys", "write_keys")
    @classmethod
    def _hashed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(key) < _MIN_KEY for key in value):
            raise ValueError(f"a key needs at least {_MIN_KEY} characters. Make one with: cbir-serve key")
        return tuple(map(keys.hashed, value))

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_ORIGIN.fullmatch(origin) for origin in value):
            raise ValueError("use a comma-separated list of origins: https://shop.example.org,http://localhost:3000")
        return value

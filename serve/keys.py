"""API keys. Only their hashes are kept, and comparing takes the same time for every key."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

_HASHED = re.compile(r"sha256:[0-9a-f]{64}")


def new_key() -> str:
    """Return a random key with 256 bits. No salt is needed to store the SHA-256 of such a key."""
    return secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """Return the hash of a key, `sha256:` and 64 hexadecimal digits; a hash is returned as it is."""
    return key if _HASHED.fullmatch(key) else f"sha256:{hashlib.sha256(key.encode(errors='replace')).hexdigest()}"


def is_one_of(key: str, hashes: Iterable[str]) -> bool:
    """Return whether a key has one of the hashes. A hash itself is no key."""
    found = f"sha256:{hashlib.sha256(key.encode(errors='replace')).hexdigest()}"
    return any([hmac.compare_digest(found, stored) for stored in hashes])  # noqa: C419  compares with all of them

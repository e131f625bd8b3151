"""Names of collections: the allowed ones, the default one, and the alias of a data set."""

import re

from cbir.errors import UsageError

MARKER = "cbir.json"
_LONGEST_NAME = 200


def is_collection(name: str) -> bool:
    """Return whether a collection may have this name; it becomes the name of a folder."""
    return re.fullmatch(r"\w[\w.-]*", name) is not None and len(name.encode()) <= _LONGEST_NAME and name != MARKER


def check_collection(name: str) -> None:
    """Raise `UsageError` unless a collection may have this name."""
    if not is_collection(name):
        raise UsageError(
            f"invalid collection name: {name[:80]!r}. Use up to {_LONGEST_NAME} letters, digits, '_', '-' and '.'."
        )


def collection_name(dataset: str, model: str) -> str:
    """Return the default name of a collection: data set and model, in characters that every store accepts."""
    name = re.sub(r"[^\w.-]+", "_", f"{dataset}-{model}").lstrip(".-")
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore") or "images"


def alias_of(dataset: str, collection: str) -> str:
    """Return the alias of a data set, which leads to its latest complete collection; "" if it is the collection."""
    alias = collection_name(dataset, "").rstrip("-")
    return "" if alias == collection else alias

"""Names of collections: what they may be, what they are by default, and the alias of a data set."""

import re

from cbir.errors import UsageError

MARKER = "cbir.json"
_LONGEST_NAME = 200


def check_collection(name: str) -> None:
    """Raise `UsageError` unless a collection may be called so: it becomes a folder's name, and nothing else."""
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name.encode()) > _LONGEST_NAME or name == MARKER:
        raise UsageError(
            f"{name[:80]!r} cannot be a collection's name; letters, digits, '_', '-' and '.' can, up to 200"
        )


def collection_name(dataset: str, model: str) -> str:
    """Return the usual name of a collection: data set and model, in characters that every store takes."""
    name = re.sub(r"[^\w.-]+", "_", f"{dataset}-{model}").lstrip(".-")
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore") or "images"


def alias_of(dataset: str, collection: str) -> str:
    """Return the name under which readers find the data set's collection that was completed last; "" for none."""
    alias = collection_name(dataset, "").rstrip("-")
    return "" if alias == collection else alias

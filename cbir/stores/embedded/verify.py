"""`cbir-ingest verify`: every file of an index folder against its manifest."""

import logging
from pathlib import Path

from cbir.errors import UsageError
from cbir.index.generation import MANIFEST, MARKER, Damage, collections
from cbir.stores.catalog import verify_collection

log = logging.getLogger(__name__)


def verify_folder(root: Path, collection: str | None) -> list[Damage]:
    """Return what is damaged in the published collections of an index folder (or in one of them).

    Raises:
        UsageError: There is no such folder or collection.
    """
    names = sorted({path.parent.parent.name for path in root.glob(f"*/*/{MANIFEST}")} | set(collections(root)))
    if not names or (collection is not None and collection not in names):
        raise UsageError(f"{root} has no collection {collection or 'yet'}; it has: {', '.join(names) or 'none'}")
    found = [] if (root / MARKER).is_file() else [Damage(root / MARKER, "missing")]
    for name in [collection] if collection else names:
        damage = verify_collection(root, name)
        found += damage
        log.info("%s: %s", root / name, f"{len(damage)} damaged" if damage else "whole")
    return found

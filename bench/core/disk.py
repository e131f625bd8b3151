"""The space that measured files take."""

from contextlib import suppress
from pathlib import Path

from cbir.index.files import files_below


def disk_bytes(folder: Path) -> int:
    """Return the space that a folder takes on the disk. A file with several names counts once."""
    blocks = {}
    for path in files_below(folder):
        with suppress(FileNotFoundError):
            status = path.stat()
            blocks[status.st_ino] = status.st_blocks
    return 512 * sum(blocks.values())

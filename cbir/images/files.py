"""Reading image files."""

import errno
import os
import stat
from pathlib import Path

from cbir.errors import ImageError

MAX_FILE_BYTES = 256 * 2**20


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a regular file of at most 256 MB, or raise `ImageError`; `~` is the user's home."""
    try:
        # O_NONBLOCK: opening a named pipe would otherwise block
        handle = os.open(Path(path).expanduser(), os.O_RDONLY | os.O_NONBLOCK)
    except ValueError:
        raise ImageError("not a valid file name") from None
    except RuntimeError as error:  # there is no such user
        raise FileNotFoundError(errno.ENOENT, str(error)) from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(f"too large: {status.st_size / 2**20:,.0f} MiB, the limit is {MAX_FILE_BYTES >> 20}")
        return file.read()

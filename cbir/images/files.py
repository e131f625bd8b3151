"""Reading image files: regular ones of a limited size."""

import errno
import os
import stat
from pathlib import Path

from cbir.errors import ImageError

MAX_FILE_BYTES = 256 * 2**20


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return a regular file's bytes; `~` is the user's home.

    Raises:
        ImageError: It is not a regular file, or larger than 256 MB.
        OSError: It cannot be read.
    """
    try:
        # without O_NONBLOCK, a named pipe would wait for its writer for ever
        handle = os.open(Path(path).expanduser(), os.O_RDONLY | os.O_NONBLOCK)
    except ValueError:
        raise ImageError("no file can have such a name") from None
    except RuntimeError as error:  # there is no such user
        raise FileNotFoundError(errno.ENOENT, str(error)) from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(f"too large: {status.st_size / 2**20:,.0f} MiB, the limit is {MAX_FILE_BYTES >> 20}")
        return file.read()

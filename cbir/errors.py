"""The errors that cbir raises on purpose.

    CbirError                 a failure: exit code 1
    ├── UsageError            a wrong call: exit code 2, nothing was changed
    ├── ImageError            one image cannot be used; the run continues
    ├── DamageError           a stored file does not match its manifest
    └── DiskFullError         the disk is full: exit code 3, everything already stored is kept

A message is one line: what happened, where, and how to fix it.
"""


class CbirError(Exception):
    """A failure that the user can understand and fix; shown as one line, exit code 1.

    Example:
        >>> try:
        ...     cbir.open("./nothing")
        ... except cbir.CbirError as error:
        ...     print(error)
        No collection found at ...nothing. Create one with: ...
    """

    exit_code = 1


class UsageError(CbirError):
    """A wrong option, path, URL or combination; exit code 2, and nothing was changed.

    Example:
        >>> photos.search("query.png", limit=0)
        Traceback (most recent call last):
        ...
        cbir.errors.UsageError: the limit must be at least 1, not 0
    """

    exit_code = 2


class ImageError(CbirError):
    """An image cannot be decoded or embedded; the message is the reason shown in summaries.

    Example:
        >>> photos.search("broken.jpg")
        Traceback (most recent call last):
        ...
        cbir.errors.ImageError: broken.jpg: not an image of a known format
    """


class DamageError(CbirError):
    """A stored file is missing or does not match its manifest; it is not served.

    Example:
        >>> import os, pathlib
        >>> for log in pathlib.Path("index").rglob("*.log"):
        ...     os.truncate(log, 1000)
        >>> cbir.open("./index")
        Traceback (most recent call last):
        ...
        cbir.errors.DamageError: ...
    """


class DiskFullError(CbirError):
    """The disk is full; exit code 3. Everything already stored is kept.

    Example:
        >>> from cbir.sources.base import Source
        >>> huge = Source("huge", origin="nowhere", items=[], total=10**12)
        >>> cbir.open("./fresh", create=True).add(huge)
        Traceback (most recent call last):
        ...
        cbir.errors.DiskFullError: ...
    """

    exit_code = 3

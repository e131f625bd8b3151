"""Everything that cbir raises on purpose.

    CbirError                 a failure: exit code 1
    ├── UsageError            the call is wrong: exit code 2, nothing was changed
    ├── ImageError            one image cannot be used; the run goes on
    ├── DamageError           a stored file is not what its manifest says
    └── DiskFullError         there is no room for what is to be stored: exit code 3, what was stored is kept

A message is one line: what, where, and how to mend it.
"""


class CbirError(Exception):
    """A failure that the user can understand and mend; shown as one line, exit code 1.

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
    """One image cannot be decoded or embedded; the message is the reason shown in summaries.

    Example:
        >>> photos.search("broken.jpg")
        Traceback (most recent call last):
        ...
        cbir.errors.ImageError: broken.jpg: not an image of a known format
    """


class DamageError(CbirError):
    """A stored file is missing or is not what its manifest says; it is not served.

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
    """A disk has no room for what is to be stored; exit code 3. What was stored before is kept.

    Example:
        >>> from cbir.sources.base import Source
        >>> huge = Source("huge", origin="nowhere", items=[], total=10**12)
        >>> cbir.open("./fresh", create=True).add(huge)
        Traceback (most recent call last):
        ...
        cbir.errors.DiskFullError: ...
    """

    exit_code = 3

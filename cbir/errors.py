"""Everything that cbir raises on purpose.

    CbirError                 a failure: exit code 1
    ├── UsageError            the call is wrong: exit code 2, nothing was changed
    ├── ImageError            one image cannot be used; the run goes on
    ├── DamageError           a stored file is not what its manifest says
    └── DiskFullError         there is no room for what is to be stored: exit code 3, what was stored is kept

A message is one line: what, where, and how to mend it.
"""


class CbirError(Exception):
    """A failure that the user can understand and mend; shown as one line, exit code 1."""

    exit_code = 1


class UsageError(CbirError):
    """A wrong option, path, URL or combination; exit code 2, and nothing was changed."""

    exit_code = 2


class ImageError(CbirError):
    """One image cannot be decoded or embedded; the message is the reason shown in summaries."""


class DamageError(CbirError):
    """A stored file is missing or is not what its manifest says; it is not served."""


class DiskFullError(CbirError):
    """A disk has no room for what is to be stored; exit code 3. What was stored before is kept."""

    exit_code = 3

"""The libraries that decode and resize images: a collection records them, since others may give other pixels."""

import logging
from functools import cache
from importlib.metadata import version

from cbir.images.resize import fast

LIBRARIES = ", ".join(f"{name} {version(name)}" for name in ["pillow", *(["cykooz-resizer"] if fast else [])])
"""The names and versions of the libraries in use."""

log = logging.getLogger(__name__)


@cache  # one warning, however many searches or runs a process makes
def warn_of_others(name: str, recorded: str, used: str = LIBRARIES) -> None:
    """Warn if the vectors of the collection `name` and those from now on may differ for the same image.

    They may if another library was used, or one of another major version. An older collection has no record ("").
    """
    if recorded and used and _major_versions(recorded) != _major_versions(used):
        what = "warning: the vectors of %s were made with %s; those that are made with %s may differ slightly"
        log.warning(what, name, recorded, used)


def _major_versions(libraries: str) -> set[str]:
    return {library.partition(".")[0] for library in libraries.split(", ")}

"""How much memory this process had at most."""

import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Return the most bytes of memory this process has had since its program began, mapped files included."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024  # `ru_maxrss` would inherit the parent's peak
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

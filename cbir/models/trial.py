"""Tries a model file in a process with limits before its first run here, since it may be somebody else's.

An image model is tried with a batch of images, a text tower with one of texts of the most tokens.

`python -m cbir.models.trial` is that process. It reads the file from its standard input.
"""

import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from cbir.errors import UsageError
from cbir.models.card import TEXT_CARD
from cbir.models.graph import refusal
from cbir.models.runtime import cores, open_session
from cbir.models.sealed import PACKAGED, TEXT_CARD_FIELD, metadata
from cbir.text import one_line

MAX_MEMORY = 2**33
"""The address space in which a model must load and embed a batch, in bytes."""

MAX_SECONDS = 120
"""The longest time that this may take."""

_BATCH = 8
_MOST_THREADS = 8  # each takes address space


def require_safe(path: Path, data: bytes, checksum: str, cache: Path) -> None:
    """Raise `UsageError` for a model file that is refused. What passes is recorded in the folder `cache`."""
    passed = cache / "models" / checksum
    if passed.exists() or any(checksum in record.read_text() for record in PACKAGED.glob("*.parity.json")):
        return
    command = [sys.executable, "-P", "-m", __name__, str(MAX_MEMORY)]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # this program may have added to it
    refused = f"{path} is not a model that cbir can run"
    try:
        subprocess.run(
            command, input=data, capture_output=True, check=True, timeout=MAX_SECONDS, env={**os.environ, **paths}
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{refused}: a batch of {_BATCH} took more than {MAX_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        reason = one_line(error.stderr.decode(errors="replace").strip().rpartition("\n")[2])[:400]
        if error.returncode < 0 or not reason:
            reason = f"a trial run ended with code {error.returncode}; it may need too much memory"
        raise UsageError(f"{refused}: {reason}") from None
    with suppress(OSError):  # without a record it is tried again the next time
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()


def main() -> None:
    """Exit with the reason if the model file is refused."""
    limit = _limit_memory(int(sys.argv[1]))
    data = sys.stdin.buffer.read()
    try:
        if reason := refusal(data):
            sys.exit(reason)
        session = open_session(data, "cpu", min(cores(), _MOST_THREADS))
        (given,) = session.get_inputs()
        if given.type == "tensor(uint8)":  # `read_card` refuses any other image model
            session.run(None, {given.name: np.zeros((_BATCH, *given.shape[1:]), np.uint8)})
        elif TEXT_CARD_FIELD in (fields := metadata(data)):
            length = TEXT_CARD.validate_json(fields[TEXT_CARD_FIELD]).length
            session.run(None, {given.name: np.zeros((_BATCH, length), np.int64)})
    except Exception as error:  # onnxruntime's errors share no base class
        sys.exit(f"{one_line(error)[:300]} (it has {limit / 2**30:.0f} GiB of memory)")


def _limit_memory(limit: int) -> int:
    """Lower this process's limit of address space, and return it in bytes. On macOS it cannot be lowered."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    if sys.platform != "darwin":
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    return limit


if __name__ == "__main__":
    main()

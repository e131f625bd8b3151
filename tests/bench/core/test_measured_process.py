"""Processes that are started to be measured."""

import os
import sys

import numpy as np
import pytest
from cbir.bench.core.measured_process import apart, run_process

from cbir.errors import CbirError
from cbir.stores.embedded.build import peak_memory


def test_a_child_that_fails_is_one_line() -> None:
    with pytest.raises(CbirError, match=r"^the loop failed: error: broken$"):
        run_process(
            "the loop", [sys.executable, "-c", "import sys; print('log', file=sys.stderr); sys.exit('error: broken')"]
        )
    with pytest.raises(CbirError, match=r"^the loop failed: exit code -9$"):
        run_process("the loop", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    with pytest.raises(CbirError, match=r"^the loop printed no JSON"):
        run_process("the loop", [sys.executable, "-c", "print('hello')"])


def test_a_childs_memory_and_time_are_its_own() -> None:
    code = "import time; kept = b'x' * 200_000_000; time.sleep(1.2); print('{}')"
    child = run_process("it", [sys.executable, "-c", code])
    assert child.seconds >= 1.2
    if sys.platform == "linux":
        assert child.peak_megabytes is not None
        assert 200 <= child.peak_megabytes < 300
        assert child.others is not None
        assert 0 <= child.others <= 1.5


def test_a_process_that_dies_is_one_line() -> None:
    with pytest.raises(CbirError, match="A measured process died"):
        apart(os._exit, 3)


def test_a_process_has_a_memory_of_its_own() -> None:
    block = np.ones(40_000_000)  # 320 MB
    ours, theirs = peak_memory(), apart(peak_memory)
    assert ours > block.nbytes
    assert theirs < ours / 2

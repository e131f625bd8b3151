"""Summaries of times, and the noise of the machine."""

import time

import pytest
from cbir.bench.core.timing import Noise, NoiseMeter, Times, busy_notes, spread, timed, times

from cbir.tables import Range


def test_times() -> None:
    expected = Times(3.0, pytest.approx(4.8), pytest.approx(4.96), None, 5)
    assert times([4.0, 1.0, 2.0, 3.0, 5.0]) == expected
    assert times([float(number) for number in range(1001)]).p999 == pytest.approx(999)


def test_spread() -> None:
    assert spread([3.0, 1.0, 8.0]) == Range(3.0, 1.0, 8.0)
    assert spread([3.0, 1.0, 8.0]) == Range(3.0, 1.0, 8.0)


def test_a_call_is_timed_in_milliseconds() -> None:
    assert timed(lambda: time.sleep(0.02)) >= 20


def test_the_noise_is_told_in_words() -> None:
    meter = NoiseMeter()
    meter.look()
    kernel = meter.noise().kernel_ms
    assert 0 < kernel.low <= kernel.value <= kernel.high
    (line,) = Noise(Range(1.1, 1.0, 1.5), 0.02).notes()
    assert "1.000 to 1.500 ms (50% apart)" in line
    assert "WARNING: other processes used up to 30%" in Noise(Range(1.1, 1.0, 1.5), 0.3).notes()[1]
    assert busy_notes([None, 0.1]) == []

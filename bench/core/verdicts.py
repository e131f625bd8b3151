"""Sentences that say what is faster than what, the same in every result."""

from collections.abc import Mapping, Sequence
from typing import Any

from cbir.models.runtime import processor_flags
from cbir.tables import Range, floored

from .timing import spread

ENOUGH_ROUNDS = 6
NOTE = (
    "x [low, high] times as fast: the median of the rounds with the lowest and the highest. A round compares what took"
    f" turns in it. Of two that are equally fast, one is ahead in all of {ENOUGH_ROUNDS} independent rounds in 3 of 100"
    " cases, and more rarely in more rounds. If 1 is within the interval, or if there are fewer rounds, nothing is"
    " called faster."
)
"""What a reader must know of the sentences."""

_FEATURES = {"avx2": "AVX2", "avx512f": "AVX-512", "avx_vnni": "VNNI", "avx512_vnni": "VNNI", "amx_int8": "AMX"}


def compared(
    first: str, second: str, times: Sequence[float], other_times: Sequence[float], verb: str, condition: str = ""
) -> list[str]:
    """Return a sentence on the times of two things in the rounds of a measurement, the faster one first.

    There is none without rounds. `verb` is what they do, such as "answers", and `condition` where that holds, such as
    "at recall@10 >= 0.99".
    """
    if not times or not other_times:
        return []
    ratio = ratio_of(times, other_times)
    if ratio.value < 1:
        return compared(second, first, other_times, times, verb, condition)
    where = f" {condition}" if condition else ""
    if ratio.low <= 1:
        return [
            f"{first} and {second} do not differ beyond noise{where}: {first} {verb} {interval(ratio)} times as fast."
        ]
    sentence = f"{first} {verb} {interval(ratio)} times as fast as {second}{where}"
    few = len(times) < ENOUGH_ROUNDS
    return [f"Too few rounds ({len(times)}) to call one faster: {sentence}." if few else f"{sentence}."]


def ratio_of(times: Sequence[float], other_times: Sequence[float]) -> Range:
    """Return how many times as fast as the second the first is, round by round."""
    return spread([other / time for time, other in zip(times, other_times, strict=True)])


def interval(ratio: Range) -> str:
    """Return a ratio with its bounds, which are rounded outwards: "1.31 [1.25, 1.38]"."""
    return f"{ratio.value:.2f} [{floored(ratio.low, 2):.2f}, {-floored(-ratio.high, 2):.2f}]"


def at_least(value: float, digits: int = 4) -> str:
    """Return a share as text, rounded down, so that it is never shown as a bound that it does not reach."""
    return f"{floored(value, digits):.{digits}f}"


def processor_features() -> str:
    """Return the instructions of this processor that the speed of models depends on, "" where they are not listed."""
    found = processor_flags()
    return ", ".join(dict.fromkeys(name for flag, name in _FEATURES.items() if flag in found))


def on_processor(machine: Mapping[str, Any]) -> str:
    """Return where a claim about the speed of a model holds: int8 is fast with VNNI or AMX only.

    It is "" in a result that does not have the features of its processor.
    """
    features = str(machine.get("features") or "")
    without = "" if "VNNI" in features else ", without VNNI"
    return f" on a processor with {features}{without}" if features else ""

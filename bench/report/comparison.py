"""What changed from one report to another, beyond what chance does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.comparable_metrics import Figure

Verdict = Literal["better", "worse", "the same", "within noise"]


@dataclass(frozen=True)
class Change:
    """One figure in both reports; `relative` is the change by the first value, None where that is 0."""

    before: Figure
    after: Figure
    relative: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All figures of two reports: those that both have, by name, and the names that only one has."""

    changes: list[Change]
    only_before: list[str]
    only_after: list[str]


def compare(before: Sequence[Figure], after: Sequence[Figure]) -> Comparison:
    """Compare two reports, figure by figure.

    A change is one if the two intervals have nothing in common: rounds of a time, 95 % of a mean over queries. That
    asks for more than a test of the difference would, so a small change may go unseen, and chance is seldom taken for
    one; of a hundred figures one or two still may be.
    """
    first, second = ({one.name: one for one in figures} for figures in (before, after))
    changes = [_change(first[name], second[name]) for name in first if name in second]
    return Comparison(
        changes, [name for name in first if name not in second], [name for name in second if name not in first]
    )


def _change(before: Figure, after: Figure) -> Change:
    relative = (after.value - before.value) / abs(before.value) if before.value else None
    if before.value == after.value:
        verdict: Verdict = "the same"
    elif before.low <= after.high and after.low <= before.high:
        verdict = "within noise"
    else:
        verdict = "better" if (after.value > before.value) == (after.better == "higher") else "worse"
    return Change(before, after, relative, verdict)

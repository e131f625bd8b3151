"""What changed between two reports, as tables for people."""

from collections import Counter

from .comparison import Change, Comparison, Verdict
from .report import new_console, new_table

_ORDER: tuple[Verdict, ...] = ("worse", "better", "within noise", "the same")


def show_comparison(found: Comparison, every: bool) -> None:
    """Print what changed beyond noise, the worse first, or `every` figure; and how many did not."""
    console = new_console()
    shown = [one for one in found.changes if every or one.verdict in ("worse", "better")]
    if shown:
        table = new_table("", ["figure", "before", "after", "change", ""])
        for one in sorted(shown, key=_rank):
            relative = "-" if one.relative is None else f"{one.relative:+.1%}"
            table.add_row(one.before.name, _told(one, "before"), _told(one, "after"), relative, one.verdict)
        console.print(table)
    counts = Counter(one.verdict for one in found.changes)
    console.print(", ".join(f"{counts[verdict]:,} {verdict}" for verdict in _ORDER) + f", of {len(found.changes):,}")
    console.print(
        "A figure has changed if the two intervals (the rounds of a time, 95 % of a mean over queries) have nothing in"
        " common; of a hundred figures chance may still move one or two."
    )
    for names, which in ((found.only_before, "first"), (found.only_after, "second")):
        if names:
            console.print(f"Only in the {which}: {len(names):,} figures, {names[0]!r} for one.")


def _rank(one: Change) -> tuple[int, float]:
    return _ORDER.index(one.verdict), -abs(one.relative or 0)


def _told(one: Change, which: str) -> str:
    figure = one.before if which == "before" else one.after
    return f"{figure.value:.4g} {figure.unit}".rstrip() + f" ({figure.low:.4g} - {figure.high:.4g})"

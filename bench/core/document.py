"""What a result is shown as, whatever shows it: sections of tables, plots and strips of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Result = Mapping[str, Any]
"""A result of `cbir-bench` as plain JSON values."""
Place = tuple[float, float]


@dataclass(frozen=True)
class Table:
    """A table; the first column is text, the others are figures. `console` names those a console has room for."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    console: Sequence[str] | None = None


@dataclass(frozen=True)
class Curves:
    """A plot of curves of points, those on the front joined and dark and the others faded; y is logarithmic.

    Attributes:
        name: Of its file.
        words: What stands for it where it cannot be seen.
        series: By name: points, and whether each is on the front.
        floor: A vertical line, the least x that is wanted.
    """

    name: str
    words: str
    x: str
    y: str
    series: Mapping[str, Sequence[tuple[Place, bool]]]
    floor: float | None = None


@dataclass(frozen=True)
class Ranges:
    """A plot of values with their intervals, (name, value, lowest, highest), from the top down; see `Curves`."""

    name: str
    words: str
    x: str
    rows: Sequence[tuple[str, float, float, float]]
    logarithmic: bool = False


@dataclass(frozen=True)
class Picture:
    """A JPEG with what stands below it; `data` is None where there is none."""

    id: str
    data: bytes | None
    caption: str


@dataclass(frozen=True)
class Strip:
    """Pictures in a row."""

    title: str
    pictures: Sequence[Picture]


Part = Table | Curves | Ranges | Strip


@dataclass(frozen=True)
class Section:
    """One thing that was measured: the question it answers, the command that measured it, and how to read it."""

    title: str
    question: str
    command: str = ""
    parts: Sequence[Part] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Document:
    """A report: its title, the lines that say where and how it was made, and its sections."""

    title: str
    lines: Sequence[str]
    sections: Sequence[Section] = field(default_factory=list)


def share(value: float | None) -> str:
    """Return a share with the digits that tell good recalls apart; "-" where it is undefined."""
    return known(value, ".4f")


def milliseconds(value: float | None) -> str:
    """Return milliseconds with three digits; "-" where they are not known."""
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def known(value: float | None, digits: str) -> str:
    """Return a figure in a format; "-" where it is not known."""
    return "-" if value is None else format(value, digits)


def between(spread: Mapping[str, float], digits: str) -> str:
    """Return the lowest and the highest of some rounds."""
    return f"{spread['lowest']:{digits}} - {spread['highest']:{digits}}"

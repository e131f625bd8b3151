"""What a result is shown as, wherever it is shown: verdicts, tables and plots, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cbir.tables import Table


@dataclass(frozen=True)
class CurvePoint:
    """A point of a curve, with its name if it has one. Those on the Pareto front are joined and dark, others faded."""

    x: float
    y: float
    on_front: bool
    name: str = ""


@dataclass(frozen=True)
class Curves:
    """A plot of curves by name, with a logarithmic y axis and a vertical line at `target`.

    `name` is that of its file, and `caption` is the text for readers who cannot see the plot.
    """

    name: str
    caption: str
    x: str
    y: str
    series: Mapping[str, Sequence[CurvePoint]]
    target: float | None = None
    kind: Literal["curves"] = "curves"


@dataclass(frozen=True)
class Bar:
    """A value with its bounds."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bars:
    """A plot of values with their bounds, from the top down; see `Curves`."""

    name: str
    caption: str
    x: str
    bars: Sequence[Bar]
    logarithmic: bool = False
    kind: Literal["bars"] = "bars"


@dataclass(frozen=True)
class StripImage:
    """A JPEG in base64 with its caption; `data` is None where there is none."""

    id: str
    data: str | None
    caption: str


@dataclass(frozen=True)
class Strip:
    """Images in a row."""

    title: str
    images: Sequence[StripImage]
    kind: Literal["strip"] = "strip"


Part = Table | Curves | Bars | Strip


@dataclass(frozen=True)
class Section:
    """One result as it is shown: the question, what was measured, and what the result says, most important first.

    `notes` say how it was measured and what to know before believing a difference.
    """

    title: str
    subject: str
    verdicts: Sequence[str] = ()
    parts: Sequence[Part] = ()
    notes: Sequence[str] = field(default=(), repr=False)

    @property
    def tables(self) -> list[Table]:
        """Its tables."""
        return [part for part in self.parts if isinstance(part, Table)]

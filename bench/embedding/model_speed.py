"""What each model costs alone: milliseconds an image, by precision, batch size and device, and its size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
from pydantic import AliasChoices, Field

from cbir.devices import Device
from cbir.errors import CbirError
from cbir.evaluation.result_files import model_name
from cbir.models.embedder import Embedder
from cbir.models.runtime import cores
from cbir.progress import Advance
from cbir.tables import Column, Range

from ..core.timing import Noise, NoiseMeter, int8_notes, spread, timed
from ..core.verdicts import NOTE
from .graph_cost import graph_cost

DEVICES: tuple[Device, ...] = get_args(Device)
_TURN_MS = 400.0  # a turn repeats its run for this long; a slow one runs once


@dataclass
class ModelSpeed:
    """One model file, run by one device in batches of one size. A case that failed has a reason and no times.

    Older results call the device "provider". `input` is the side of its input in pixels, and `rounds_ms` the
    milliseconds an image in each round.
    """

    model: str
    precision: str
    device: Annotated[str, Field(validation_alias=AliasChoices("device", "provider"))]
    batch: int
    dimension: Annotated[int, Column("dimension", format=",d", detail=True)]
    input: Annotated[int, Column("input", "pixels", "d")]
    megabytes: Annotated[float, Column("file", "MB", ".1f")]
    random_weights: bool
    failed: str = ""
    parameters: Annotated[float | None, Column("parameters", "M", ".2f")] = None
    gigamacs: Annotated[float | None, Column("multiply-adds", "billions", ".3f")] = None
    ms_an_image: Annotated[Range | None, Column("time", "ms an image", ".2f", better="lower")] = None
    images_per_second: Annotated[Range | None, [(Column("speed", "images/s", ",.0f"), "value")]] = None
    rounds_ms: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The model with its precision, and how it was run."""
        return f"{model_name(self.model, self.precision)}, {self.device}, batch {self.batch}"


def measure(
    files: Sequence[Path], devices: Sequence[Device], batches: Sequence[int], rounds: int, advance: Advance
) -> tuple[list[ModelSpeed], Noise]:
    """Time every model with every device and batch, in a new random order each round."""
    found: list[ModelSpeed] = []
    runs: list[tuple[ModelSpeed, Embedder, list[float]]] = []
    for path in files:
        on_cpu = Embedder(path, threads=cores(), device="cpu")
        card, cost = on_cpu.card, graph_cost(path)
        for device in devices:
            cases = [
                ModelSpeed(
                    model=card.name,
                    precision=card.arithmetic,
                    device=device,
                    batch=batch,
                    dimension=card.dimension,
                    input=card.input.size,
                    megabytes=path.stat().st_size / 1e6,
                    random_weights=card.random_weights,
                    parameters=cost.parameters,
                    gigamacs=cost.gigamacs,
                )
                for batch in batches
            ]
            found += cases
            try:
                embedder = on_cpu if device == "cpu" else Embedder(path, threads=cores(), device=device)
                runs += [(case, embedder, []) for case in cases]
            except CbirError as error:
                for case in cases:
                    case.failed = str(error)
    rng = np.random.default_rng(0)
    meter = NoiseMeter()
    for turn in range(rounds + 1):
        for index in rng.permutation(len(runs)).tolist():
            case, embedder, spent = runs[index]
            milliseconds = _time(embedder, case.batch)
            if turn:  # the first one warms up
                spent.append(milliseconds / case.batch)
            advance(1)
        meter.look()
    for case, _, spent in runs:
        case.rounds_ms, case.ms_an_image = spent, spread(spent)
        case.images_per_second = spread([1000 / milliseconds for milliseconds in spent])
    return found, meter.noise()


def _time(embedder: Embedder, batch: int) -> float:
    """Return the median milliseconds of a run."""
    side = embedder.card.input.size
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, side, side, 3), np.uint8)
    times: list[float] = []
    while sum(times) < _TURN_MS:
        times.append(timed(lambda: embedder.run(pixels)))
    return float(np.median(times))


def notes(found: Sequence[ModelSpeed], noise: Noise) -> list[str]:
    """Return what a reader must know to read the result."""
    lines = [
        f"The model alone, over pixels in memory, with {cores()} threads. All cases take turns, in a new random order"
        " each round, after one untimed round. Medians of the rounds, with the lowest and the highest.",
        NOTE,
        *noise.notes(),
        *int8_notes(any(model.precision == "int8" for model in found)),
    ]
    random = dict.fromkeys(model.model for model in found if model.random_weights)
    return lines + [f"{name} has random weights. Its speed is real, but its vectors mean nothing." for name in random]

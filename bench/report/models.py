"""How fast each model is: milliseconds of a picture and pictures a second, by precision, batch and provider."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cbir.errors import CbirError
from cbir.models.runtime import Provider
from cbir.models.sealed import Embedder, cores
from cbir.terminal import Advance

from ..core.noise import Noise, NoiseMeter
from ..ingest.measure import Spread, spread
from ..latency.measure import timed

PROVIDERS: tuple[Provider, ...] = ("cpu", "openvino", "openvino-bf16")
_TURN_MS = 400.0
"""A turn of a case repeats until this long; of a slow one it is a single run."""


@dataclass(frozen=True)
class Case:
    """One model, run by one provider in batches of one size. What failed has no figures, and says why.

    Attributes:
        provider: What ran it.
        batch: Pictures in one run.
        failed: Why there are no figures, "" if there are.
        ms_an_image: Of the model alone over ready pixels, with all cores.
        images_per_second: The same the other way round.
    """

    provider: str
    batch: int
    failed: str = ""
    ms_an_image: Spread | None = None
    images_per_second: Spread | None = None


@dataclass(frozen=True)
class ModelSpeed:
    """One model file.

    Attributes:
        model: Its name.
        precision: fp32, fp16 or int8.
        dimension: Length of a vector.
        input: Side of the input in pixels.
        megabytes: Of the file.
        random_weights: Whether its vectors mean nothing; its speed holds.
        sha256: Its seal.
        cases: By provider and batch.
    """

    model: str
    precision: str
    dimension: int
    input: int
    megabytes: float
    random_weights: bool
    sha256: str
    cases: list[Case] = field(default_factory=list)


@dataclass
class _Run:
    """A case that is being measured."""

    model: int
    provider: Provider
    batch: int
    embedder: Embedder | None
    failed: str
    spent: list[float] = field(default_factory=list)


def measure(
    files: Sequence[Path], providers: Sequence[Provider], batches: Sequence[int], rounds: int, advance: Advance
) -> tuple[list[ModelSpeed], Noise]:
    """Time every model with every provider and batch, in rounds of an order drawn anew; `advance` hears of each turn.

    Raises:
        UsageError: A file is no model.
    """
    found = []
    runs: list[_Run] = []
    for number, path in enumerate(files):
        card_of = Embedder(path, threads=cores(), provider="cpu")
        card = card_of.card
        found.append(
            ModelSpeed(
                model=card.name,
                precision=card.precision,
                dimension=card.dimension,
                input=card.input.size,
                megabytes=path.stat().st_size / 1e6,
                random_weights=card.random_weights,
                sha256=card_of.sha256,
            )
        )
        for provider in providers:
            embedder, failed = (card_of, "") if provider == "cpu" else _open(path, provider)
            runs += [_Run(number, provider, batch, embedder, failed) for batch in batches]
    rng = np.random.default_rng(0)
    meter = NoiseMeter()
    for turn in range(rounds + 1):  # the first one warms up: a session's first runs make its plans
        for at in rng.permutation(len(runs)).tolist():
            _take(runs[at], found[runs[at].model].input, keep=turn > 0)
            advance(1)
        meter.look()
    for run in runs:
        found[run.model].cases.append(_case(run))
    return found, meter.noise()


def _open(path: Path, provider: Provider) -> tuple[Embedder | None, str]:
    try:
        return Embedder(path, threads=cores(), provider=provider), ""
    except CbirError as error:
        return None, str(error)


def _take(run: _Run, side: int, keep: bool) -> None:
    """Run a case for a moment, and note the milliseconds of a picture."""
    if run.embedder is None:
        return
    pixels = np.random.default_rng(run.batch).integers(0, 256, (run.batch, side, side, 3), np.uint8)
    embedder, spent = run.embedder, 0.0
    times: list[float] = []
    while not times or spent < _TURN_MS:
        times.append(timed(lambda: embedder.run(pixels)))
        spent += times[-1]
    if keep:
        run.spent.append(float(np.median(times)) / run.batch)


def _case(run: _Run) -> Case:
    if run.embedder is None:
        return Case(run.provider, run.batch, run.failed)
    rates = spread([1000 / one for one in run.spent])
    return Case(run.provider, run.batch, ms_an_image=spread(run.spent), images_per_second=rates)

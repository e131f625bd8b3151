"""How near an ingest comes to what its model alone does, and what other libraries do with the same files.

All parts are processes of their own and take turns, round by round, so that whatever else the machine does slows all of
them alike. An ingest is the real command line, into fresh folders.
"""

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from cbir import terminal
from cbir.evaluation.result_files import model_name
from cbir.sources.base import SourceOptions
from cbir.tables import Column, Range, Table, floored

from ..core.measured_process import MeasuredProcess, run_process
from ..core.rows import typed_table
from ..core.timing import busy_notes, int8_notes, spread
from ..core.verdicts import NOTE, compared, on_processor
from . import worker
from .baseline import Baseline, part_name
from .sample import Sample, prepare

MODEL, BOUND = "model", "decode and model"
DURABLE, PUBLISHED = "ingest, durable", "ingest, published"
_DESCRIPTIONS = {
    MODEL: "the model over ready pixels in memory, with the ingest's workers, threads and batch size",
    BOUND: "the same over files in memory, decoded as the ingest does",
    DURABLE: "the command line, until the last vector is safe in the log",
    PUBLISHED: "the same, until the indexes of Edge and FAISS are published",
    **{part_name(name): library.description for name, library in worker.LIBRARIES.items()},
}
_TUNED = "the same with the settings that were fastest in a short trial"


@dataclass(frozen=True)
class EmbeddingOptions:
    """How to measure: `rounds` turns, with loops and baselines of at least `seconds`; `python` has the libraries."""

    source_options: SourceOptions
    rounds: int
    seconds: float
    baselines: Sequence[str] = ()
    python: str = sys.executable


@dataclass(frozen=True)
class EmbeddingPart:
    """What was measured of one way to get vectors, without the start and the end of its process.

    `missing` says why it was not measured. Medians are `core_milliseconds`, the processor time of an image,
    `peak_megabytes`, the most memory of all its processes together, and `others`, the share of the processors that
    other processes used. `ratio` is the speed of the durable ingest by that of this part, round by round.
    `same_model` is false for a library that has a model of its own.
    """

    name: str
    missing: str = ""
    images_per_second: Annotated[Range | None, Column("images/s", format=",.1f", better="higher")] = None
    core_milliseconds: Annotated[float | None, Column("CPU", "ms", ".2f")] = None
    peak_megabytes: Annotated[float | None, Column("memory", "MB", ",.0f")] = None
    others: float | None = None
    ratio: Annotated[Range | None, Column("durable / this", format=".2f")] = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    rounds_per_second: list[float] = field(default_factory=list)
    same_model: bool = True


@dataclass(frozen=True)
class ModelEmbedding:
    """What was measured with one model: images stored, parts in the order of turns, packages of the baselines."""

    model: str
    stored: int
    parts: list[EmbeddingPart]
    versions: dict[str, str]


def measure(
    source: str | None, photos: int | None, models: Sequence[str], options: EmbeddingOptions
) -> tuple[Sample, list[ModelEmbedding]]:
    """Return the sample that was measured with, and what was measured with each model; see `prepare`."""
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as name:
        folder = Path(name)
        sample = prepare(folder, source, options.source_options, photos, models)
        cases = [_Case(folder, sample, number, options) for number in range(len(sample.files))]
        with terminal.progress("embedding", options.rounds * len(cases), "turns") as advance:
            for _ in range(options.rounds):
                for case in cases:
                    case.take_turn()
                    advance(1)
        return sample, [case.result() for case in cases]


class _Case:
    """The parts of one model, and what they did so far."""

    def __init__(self, folder: Path, sample: Sample, number: int, options: EmbeddingOptions):
        self._file, card = sample.files[number], sample.cards[number]
        self._name = model_name(card.name, card.arithmetic)
        self._index, self._images = folder / "index", folder / "images"
        self._source, self._options = sample.source, options
        self._baselines = [
            Baseline(name, options.python, self._file, card, self._images, folder / f"baselines-{number}" / name)
            for name in options.baselines
        ]
        names = [MODEL, BOUND, DURABLE, PUBLISHED, *(name for each in self._baselines for name in each.settings)]
        self._runs: dict[str, list[MeasuredProcess]] = {name: [] for name in names}
        self._settings: dict[str, Mapping[str, Any]] = {}

    def take_turn(self) -> None:
        """Run every part once. Each prints its images, their seconds and perhaps those of the processor."""
        ingest = self._ingest()
        summary, spent = ingest.printed, ingest.printed["seconds"]
        self._stored = summary["stored"]
        published = spent["total"] - spent["open"]
        window = max(self._options.seconds, published - spent["build"])  # as long as that of the ingest
        settings = {name: summary[name] for name in ("workers", "threads", "batch_size", "device")}
        ends = {DURABLE: (published - spent["build"], spent.get("core")), PUBLISHED: (published, None)}
        for name, (seconds, core) in ends.items():
            printed = {"images": self._stored, "seconds": seconds, "core_seconds": core}
            self._add(name, replace(ingest, printed=printed), {**settings, "seconds": spent})
        for name in (MODEL, BOUND):
            job = {"name": "cbir", "model": str(self._file), "images": str(self._images), "decode": name == BOUND}
            words = ["-m", worker.__name__, json.dumps({**job, "settings": settings, "seconds": window})]
            self._add(name, run_process(name, [sys.executable, *words]), settings)
        for baseline in self._baselines:
            for name, chosen in baseline.settings.items():
                self._add(name, baseline.run(chosen, window), chosen)

    def _ingest(self) -> MeasuredProcess:
        options, root = self._options.source_options, self._index
        given = {"--label": options.label, "--top-classes": options.top_classes, "--limit": options.limit}
        command = [sys.executable, "-m", "cbir.ingest.command", "add", self._source, "--json"]
        command += ["--model", str(self._file), "--store", f"edge:{root}", "--store", f"faiss:{root}/faiss"]
        command += [str(word) for name, value in given.items() if value is not None for word in (name, value)]
        try:
            return run_process("the ingest", command)
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _add(self, name: str, process: MeasuredProcess, settings: Mapping[str, Any]) -> None:
        self._settings[name] = settings
        self._runs[name].append(process)

    def result(self) -> ModelEmbedding:
        """Return the medians of all rounds."""
        parts = [self._part(name) for name in self._runs]
        parts += [EmbeddingPart(each.name, each.missing) for each in self._baselines if each.missing]
        versions = {package: number for each in self._baselines for package, number in each.versions.items()}
        return ModelEmbedding(self._name, self._stored, parts, versions)

    def _part(self, name: str) -> EmbeddingPart:
        runs = self._runs[name]
        speeds, durable = (
            [run.printed["images"] / run.printed["seconds"] for run in self._runs[each]] for each in (name, DURABLE)
        )
        return EmbeddingPart(
            name=name,
            images_per_second=spread(speeds),
            core_milliseconds=_median(
                [1000 * spent / run.printed["images"] for run in runs if (spent := run.printed.get("core_seconds"))]
            ),
            peak_megabytes=_median([run.peak_megabytes for run in runs if run.peak_megabytes]),
            others=_median([run.others for run in runs]),
            ratio=spread([ours / speed for ours, speed in zip(durable, speeds, strict=True)]),
            settings=self._settings[name],
            rounds_per_second=speeds,
            same_model=not any(name in each.settings and not each.has_same_model for each in self._baselines),
        )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def embedding_tables(measured: Sequence[ModelEmbedding]) -> list[Table]:
    """Return a table of the parts of each model."""
    parts = [[(part.name, part) for part in model.parts] for model in measured]
    return [
        typed_table(f"{model.model}, {model.stored:,} images", "part", EmbeddingPart, named)
        for model, named in zip(measured, parts, strict=True)
    ]


def embedding_verdicts(measured: Sequence[ModelEmbedding], machine: Mapping[str, Any]) -> list[str]:
    """Return how near each ingest comes to its model alone, and how it compares with the fastest baseline.

    Libraries with another model are not compared.
    """
    verdicts = []
    for model in measured:
        parts = {part.name: part for part in model.parts if part.ratio and part.same_model}
        share = floored(_ratio(parts[MODEL]), 2)
        verdicts.append(f"An ingest with {model.model} reaches {share:.0%} of the speed of its model alone.")
        baselines = [part for name, part in parts.items() if name not in (MODEL, BOUND, DURABLE, PUBLISHED)]
        if baselines:
            fastest = min(baselines, key=_ratio)
            ours, theirs = ([1 / speed for speed in part.rounds_per_second] for part in (parts[DURABLE], fastest))
            where = f"with {model.model}{on_processor(machine)}"
            verdicts += compared("cbir-ingest", fastest.name, ours, theirs, "embeds", where)
    return verdicts


def _ratio(part: EmbeddingPart) -> float:
    return part.ratio.value if part.ratio else 0.0


def embedding_notes(measured: Sequence[ModelEmbedding]) -> list[str]:
    """Return how the parts were measured, what they are, and which were not measured."""
    parts = [part for model in measured for part in model.parts]
    notes = [
        "The parts took turns. Each embeds files of the same sample, on all processors, for as long as the ingest took"
        f" in that round and at least {worker.LEAST_BATCHES} batches, after one that is not timed. Speeds are medians"
        " of the rounds, with the lowest and the highest. Memory is the most of all processes of a part together.",
        NOTE,
        *(f"{name}: {_DESCRIPTIONS.get(name, _TUNED)}." for name in dict.fromkeys(part.name for part in parts)),
        *busy_notes([part.others for part in parts]),
    ]
    notes += [
        f"{model.model}, {part.name}: not measured: {part.missing}"
        for model in measured
        for part in model.parts
        if part.missing
    ]
    return notes + int8_notes(any("int8" in model.model for model in measured))

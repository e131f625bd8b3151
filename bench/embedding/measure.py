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
from typing import Any

from cbir import terminal
from cbir.evaluation.result_files import model_name
from cbir.models.card import ModelCard
from cbir.settings import Settings
from cbir.sources.base import SourceOptions

from ..core.measured_process import Child, apart, run_child
from ..core.timing import Spread, spread
from .baseline import Task, start_baselines
from .sample import Sample, prepare

MODEL, BOUND = "model", "decode and model"
DURABLE, PUBLISHED = "ingest, durable", "ingest, published"
_DESCRIPTIONS = {
    MODEL: "the model over ready pixels in memory, with the ingest's workers, threads and batch size",
    BOUND: "the same over files in memory, decoded as the ingest does",
    DURABLE: "the command line, until the last vector is safe in the log",
    PUBLISHED: "the same, until the indexes of Edge and FAISS are published",
}
_TUNED = "the same with the settings that were fastest in a short trial"


@dataclass(frozen=True)
class EmbeddingOptions:
    """How to measure.

    Attributes:
        source_options: Which images of the source are ingested.
        rounds: Turns of each part.
        seconds: Length of a turn of each loop and baseline.
        baselines: Names of other libraries to measure.
        python: The Python that has them.
    """

    source_options: SourceOptions
    rounds: int
    seconds: float
    baselines: Sequence[str] = ()
    python: str = sys.executable


@dataclass(frozen=True)
class Run:
    """One run of a part, without the start and the end of its process.

    Attributes:
        core_milliseconds: Processor time of an image, None if it is not measured.
        peak_megabytes: Most memory of all its processes together, None if it is not measured.
        others: Share of the machine's processors that other processes used meanwhile.
    """

    images_per_second: float
    core_milliseconds: float | None
    peak_megabytes: float | None
    others: float | None


@dataclass(frozen=True)
class EmbeddingPart:
    """What was measured of one way to get vectors: images a second, and medians of the rest of `Run`.

    Attributes:
        missing: Why it was not measured, "" if it was.
    """

    name: str
    description: str
    missing: str = ""
    images_per_second: Spread | None = None
    core_milliseconds: float | None = None
    peak_megabytes: float | None = None
    others: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """Images a second of one part by those of another, round by round."""

    of: str
    to: str
    by_clock: Spread
    by_processor: float | None


@dataclass(frozen=True)
class ModelEmbedding:
    """What was measured with one model; `parts` are in the order of their turns.

    Attributes:
        stored: Images that an ingest stored.
        versions: Packages of each baseline.
    """

    model: str
    stored: int
    parts: list[EmbeddingPart]
    ratios: list[Ratio]
    versions: dict[str, dict[str, str]]


def measure(
    source: str | None, photos: int | None, models: Sequence[str], options: EmbeddingOptions
) -> tuple[Sample, list[ModelEmbedding]]:
    """Return the sample that was measured with, and what was measured with each model; see `prepare`."""
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as name:
        folder = Path(name)
        sample = apart(prepare, folder, source, options.source_options, photos, models)
        cases = [_Case(folder, sample, number, options) for number in range(len(sample.files))]
        with terminal.progress("embedding", options.rounds * len(cases), "turns") as advance:
            for _ in range(options.rounds):
                for case in cases:
                    case.take_turn()
                    advance(1)
        return sample, [case.result(cases[0]) for case in cases]


class _Case:
    """The parts of one model, and what they did so far."""

    def __init__(self, folder: Path, sample: Sample, number: int, options: EmbeddingOptions):
        self._file, card = sample.files[number], sample.cards[number]
        self.name = model_name(card.name, card.precision)
        self._index, self._images = folder / "index", folder / "images"
        self._source, self._options = sample.source, options
        self._stored = 0
        self._settings: dict[str, Mapping[str, Any]] = {}
        self.baselines = self._start_baselines(card, folder / f"baselines-{number}")
        names = [MODEL, BOUND, DURABLE, PUBLISHED, *(name for each in self.baselines for name in each.settings)]
        self.runs: dict[str, list[Run]] = {name: [] for name in names}

    def _start_baselines(self, card: ModelCard, folder: Path) -> list[Any]:
        task = Task(self._file, card, self._images, folder)
        return list(start_baselines(self._options.baselines, self._options.python, task))

    def take_turn(self) -> None:
        """Run every part once."""
        summary = self._ingest()
        for name in (MODEL, BOUND):
            self._loop(name, summary)
        for baseline in self.baselines:
            for name, settings in baseline.settings.items():
                self._add(name, baseline.run(settings, self._options.seconds), settings)

    def result(self, first: "_Case") -> ModelEmbedding:
        """Return the medians; the ingest is also compared with the baselines of the first model, if it is another."""
        described = _DESCRIPTIONS | {each.name: each.description for each in self.baselines}
        parts = [
            _part(name, described.get(name, _TUNED), runs, self._settings[name]) for name, runs in self.runs.items()
        ]
        parts += [EmbeddingPart(each.name, each.description, each.missing) for each in self.baselines if each.missing]
        others = {name: runs for name, runs in self.runs.items() if name not in (DURABLE, PUBLISHED)}
        if first is not self:
            others |= {f"{name}, {first.name}": first.runs[name] for each in first.baselines for name in each.settings}
        ratios = [_ratio(DURABLE, self.runs[DURABLE], name, runs) for name, runs in others.items()]
        ratios.append(_ratio(PUBLISHED, self.runs[PUBLISHED], MODEL, self.runs[MODEL]))
        versions = {each.name: each.versions for each in self.baselines if each.versions}
        return ModelEmbedding(self.name, self._stored, parts, ratios, versions)

    def _ingest(self) -> dict[str, Any]:
        options, root = self._options.source_options, self._index
        given = {"--label": options.label, "--top-classes": options.top_classes, "--limit": options.limit}
        command = [sys.executable, "-m", "cbir.ingest.command", "add", self._source, "--json"]
        command += ["--model", str(self._file), "--store", f"edge:{root}", "--store", f"faiss:{root}/faiss"]
        command += [str(word) for name, value in given.items() if value is not None for word in (name, value)]
        try:
            child = run_child("the ingest", command)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        summary, spent = child.printed, child.printed["seconds"]
        self._stored = summary["stored"]
        published = spent["total"] - spent["open"]
        settings = {name: summary[name] for name in ("workers", "threads", "batch_size", "provider")}
        for name, seconds, core in (
            (DURABLE, published - spent["build"], spent.get("core")),
            (PUBLISHED, published, None),
        ):
            printed = {"images": self._stored, "seconds": seconds, "core_seconds": core}
            self._add(name, replace(child, printed=printed), {**settings, "seconds": spent})
        return summary

    def _loop(self, name: str, summary: Mapping[str, Any]) -> None:
        settings = {part: summary[part] for part in ("workers", "threads", "batch_size")}
        job = {
            **settings,
            "model": str(self._file),
            "images": str(self._images),
            "decode": name == BOUND,
            "provider": summary["provider"],
            "seconds": self._options.seconds,
            "max_megapixels": Settings().max_image_megapixels,
        }
        child = run_child(name, [sys.executable, "-m", "cbir.bench.embedding.loops", json.dumps(job)])
        self._add(name, child, settings)

    def _add(self, name: str, child: Child, settings: Mapping[str, Any]) -> None:
        """Keep a run that printed its images, their seconds and perhaps the processor's."""
        images, seconds = child.printed["images"], child.printed["seconds"]
        core_seconds = child.printed.get("core_seconds")
        core_milliseconds = None if core_seconds is None else 1000 * core_seconds / images
        self._settings[name] = settings
        self.runs[name].append(Run(images / seconds, core_milliseconds, child.peak_megabytes, child.others))


def _part(name: str, description: str, runs: Sequence[Run], settings: Mapping[str, Any]) -> EmbeddingPart:
    return EmbeddingPart(
        name=name,
        description=description,
        images_per_second=spread([run.images_per_second for run in runs]),
        core_milliseconds=_median([run.core_milliseconds for run in runs]),
        peak_megabytes=_median([run.peak_megabytes for run in runs]),
        others=_median([run.others for run in runs]),
        settings=settings,
    )


def _ratio(of: str, ours: Sequence[Run], to: str, theirs: Sequence[Run]) -> Ratio:
    pairs = list(zip(ours, theirs, strict=True))
    by_processor = [
        their.core_milliseconds / our.core_milliseconds if our.core_milliseconds and their.core_milliseconds else None
        for our, their in pairs
    ]
    by_clock = spread([our.images_per_second / their.images_per_second for our, their in pairs])
    return Ratio(of, to, by_clock, _median(by_processor))


def _median(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None

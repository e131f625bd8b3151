"""How near an ingest comes to what its model alone does, and what other ways from files to vectors do.

All parts are processes of their own and take turns, round by round, so that whatever else the machine does falls on all
alike. An ingest is the real command line, into fresh folders.
"""

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cbir import terminal
from cbir.evaluation.result_files import model_name
from cbir.settings import Settings
from cbir.sources.base import SourceOptions

from ..core.baseline import Agreement, Baseline, Task
from ..core.measured_process import Child, apart, run_child
from ..core.timing import Spread, spread
from .sample import Prepared, prepare

MODEL, BOUND = "model", "decode and model"
DURABLE, PUBLISHED = "ingest, durable", "ingest, published"
_WHAT = {
    MODEL: "the model over ready pixels in memory, with the ingest's workers, threads and batch size",
    BOUND: "the same over files in memory, decoded as the ingest does",
    DURABLE: "the command line, until the last vector is safe in the log",
    PUBLISHED: "the same, until the indexes of Edge and FAISS are published",
}
_BESIDES = ("core_milliseconds", "around_seconds", "peak_megabytes", "others")
_TUNED = "the same with the settings that were fastest in a short trial"


@dataclass(frozen=True)
class Run:
    """One run of a part.

    Attributes:
        images_per_second: Without its start and end.
        core_milliseconds: Processor time of one image, None if that is not known.
        around_seconds: What its process took to start and to end.
        peak_megabytes: Most memory of all its processes together, if that is known.
        others: Share of the machine's processors that other processes used meanwhile, if that is known.
    """

    images_per_second: float
    core_milliseconds: float | None
    around_seconds: float
    peak_megabytes: float | None
    others: float | None


@dataclass(frozen=True)
class Part:
    """What was measured of one way to do it: the images a second, and the medians of what `Run` has besides.

    Attributes:
        what: What it does.
        missing: Why it was not measured, "" if it was.
    """

    name: str
    what: str
    missing: str = ""
    images_per_second: Spread | None = None
    core_milliseconds: float | None = None
    around_seconds: float | None = None
    peak_megabytes: float | None = None
    others: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """All of one model.

    Attributes:
        stored: Images that an ingest stored.
        parts: In the order of their turns.
        agreement: How fastembed's vectors agree with ours, if it ran.
    """

    model: str
    stored: int
    parts: list[Part]
    ratios: list[dict[str, Any]]
    agreement: Agreement | None
    versions: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Asked:
    """What to measure.

    Attributes:
        seconds: Of a turn of each loop and baseline.
        start_baselines: Returns the other libraries for a task.
    """

    options: SourceOptions
    rounds: int
    seconds: float
    start_baselines: Callable[[Task], Sequence[Baseline]]


def measure(
    source: str | None, photos: int | None, models: Sequence[str], asked: Asked
) -> tuple[Prepared, list[Measured]]:
    """Return what there was to measure with, and what was measured of each model; see `prepare`."""
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as name:
        folder = Path(name)
        prepared = apart(prepare, folder, source, asked.options, photos, models)
        turns = [_Turns(folder, prepared, number, asked) for number in range(len(prepared.files))]
        with terminal.progress("embedding", asked.rounds * len(turns), "turns") as advance:
            for _ in range(asked.rounds):
                for one in turns:
                    one.take()
                    advance(1)
        return prepared, [one.measured(turns[0]) for one in turns]


class _Turns:
    """The parts of one model, and what they did so far."""

    def __init__(self, folder: Path, prepared: Prepared, number: int, asked: Asked):
        self._file, self._card = prepared.files[number], prepared.cards[number]
        self.name = model_name(self._card.name, self._card.precision)
        self._index, self._pictures = folder / "index", folder / "pictures"
        self._source, self._asked = prepared.source, asked
        self._stored = 0
        self._settings: dict[str, Mapping[str, Any]] = {}
        vectors, own = folder / f"vectors-{number}.npy", folder / f"baselines-{number}"
        self.baselines = asked.start_baselines(Task(self._file, self._card, self._pictures, vectors, own))
        names = [MODEL, BOUND, DURABLE, PUBLISHED, *(name for one in self.baselines for name in one.settings)]
        self.runs: dict[str, list[Run]] = {name: [] for name in names}

    def take(self) -> None:
        """Run every part once."""
        summary = self._ingest()
        for name in (MODEL, BOUND):
            self._loop(name, summary)
        for baseline in self.baselines:
            for name, settings in baseline.settings.items():
                self._add(name, baseline.run(settings, self._asked.seconds), settings)

    def measured(self, first: "_Turns") -> Measured:
        """Return the medians; the ingest is also compared with the baselines of the first model, if it is another."""
        what = _WHAT | {one.name: one.what for one in self.baselines}
        parts = [_part(name, what.get(name, _TUNED), runs, self._settings[name]) for name, runs in self.runs.items()]
        parts += [Part(one.name, one.what, one.missing) for one in self.baselines if one.missing]
        others = {name: runs for name, runs in self.runs.items() if name not in (DURABLE, PUBLISHED)}
        if first is not self:
            others |= {f"{name}, {first.name}": first.runs[name] for one in first.baselines for name in one.settings}
        ratios = [_ratio(DURABLE, self.runs[DURABLE], name, runs) for name, runs in others.items()]
        ratios.append(_ratio(PUBLISHED, self.runs[PUBLISHED], MODEL, self.runs[MODEL]))
        return Measured(
            model=self.name,
            stored=self._stored,
            parts=parts,
            ratios=ratios,
            agreement=next((one.agreement for one in self.baselines if one.agreement), None),
            versions={one.name: one.versions for one in self.baselines if one.versions},
        )

    def _ingest(self) -> dict[str, Any]:
        options, root = self._asked.options, self._index
        given = {"--label": options.label, "--top-classes": options.top_classes, "--limit": options.limit}
        command = [sys.executable, "-m", "cbir.ingest.command", "add", self._source, "--json"]
        command += ["--model", str(self._file), "--store", f"edge:{root}", "--store", f"faiss:{root}/faiss"]
        command += [str(part) for name, value in given.items() if value is not None for part in (name, value)]
        try:
            child = run_child("the ingest", command)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        summary, spent = child.printed, child.printed["seconds"]
        self._stored = summary["stored"]
        published = spent["total"] - spent["open"]
        settings = {name: summary[name] for name in ("workers", "threads", "batch_size", "provider")}
        details = {**settings, "seconds": spent, "peak_megabytes": summary["peak_megabytes"]}
        around = child.seconds - published
        for name, seconds, core in (
            (DURABLE, published - spent["build"], spent.get("core")),
            (PUBLISHED, published, None),
        ):
            found = {"images": self._stored, "seconds": seconds, "core_seconds": core}
            self._add(name, replace(child, printed=found), details, around)
        return summary

    def _loop(self, name: str, summary: Mapping[str, Any]) -> None:
        settings = {part: summary[part] for part in ("workers", "threads", "batch_size")}
        job = {
            **settings,
            "model": str(self._file),
            "pictures": str(self._pictures),
            "decode": name == BOUND,
            "provider": summary["provider"],
            "seconds": self._asked.seconds,
            "max_megapixels": Settings().max_image_megapixels,
        }
        child = run_child(name, [sys.executable, "-m", "cbir.bench.ingest.loops", json.dumps(job)])
        self._add(name, child, settings)

    def _add(self, name: str, child: Child, settings: Mapping[str, Any], around: float | None = None) -> None:
        """Note a run that printed its images, their seconds and perhaps the processor's."""
        images, seconds = child.printed["images"], child.printed["seconds"]
        core_seconds = child.printed.get("core_seconds")
        self._settings[name] = settings
        self.runs[name].append(
            Run(
                images_per_second=images / seconds,
                core_milliseconds=None if core_seconds is None else 1000 * core_seconds / images,
                around_seconds=child.seconds - seconds if around is None else around,
                peak_megabytes=child.peak_megabytes,
                others=child.others,
            )
        )


def _part(name: str, what: str, runs: Sequence[Run], settings: Mapping[str, Any]) -> Part:
    medians = {one: _median([getattr(run, one) for run in runs]) for one in _BESIDES}
    return Part(name, what, "", spread([run.images_per_second for run in runs]), **medians, settings=settings)


def _ratio(of: str, ours: Sequence[Run], to: str, theirs: Sequence[Run]) -> dict[str, Any]:
    """Return images a second of one part by those of another, round by round."""
    pairs = list(zip(ours, theirs, strict=True))
    cores = [
        their.core_milliseconds / our.core_milliseconds if our.core_milliseconds and their.core_milliseconds else None
        for our, their in pairs
    ]
    clock = spread([our.images_per_second / their.images_per_second for our, their in pairs])
    return {"of": of, "to": to, "by_clock": asdict(clock), "by_processor": _median(cores)}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None

"""How near an ingest comes to what its model alone does, and what other ways from files to vectors do.

All parts are processes of their own and take turns, round by round, so that whatever else the machine does falls on all
alike. An ingest is the real command line, into fresh folders.
"""

import json
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cbir.evaluation.result_files import model_name
from cbir.settings import load_settings
from cbir.sources.base import SourceOptions
from cbir.terminal import Advance

from ..baselines.measure import Agreement, Peer, Task
from ..core.loops import Loop
from ..core.measured_process import Child, run_child
from .workload import Prepared

MODEL, BOUND = "model", "decode and model"
DURABLE, PUBLISHED = "ingest, durable", "ingest, published"
_WHAT = {
    MODEL: "the model over ready pixels in memory, with the ingest's workers, threads and batch size",
    BOUND: "the same over files in memory, decoded as the ingest does",
    DURABLE: "the command line, until the last vector is safe in the log",
    PUBLISHED: "the same, until the indexes of Edge and FAISS are published",
    "fastembed": "its image embedding as it comes, over files, with the same ONNX function",
    "torch": "the same backbone, eager, behind a DataLoader of as many workers, over files",
    "sentence-transformers": "its CLIP ViT-B/32 with random weights, a larger model, as it comes, over files",
}


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
class Spread:
    """The median of the rounds, the lowest and the highest."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Part:
    """What was measured of one way to do it: the images a second, and the medians of what `Run` has besides.

    Attributes:
        name: Of the part.
        what: What it does.
        missing: Why it was not measured, "" if it was.
        settings: How it ran.
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
class Ratio:
    """Images a second of one part by those of another, round by round."""

    of: str
    to: str
    by_clock: Spread
    by_processor: float | None


@dataclass(frozen=True)
class Measured:
    """All of one model.

    Attributes:
        model: Its name, with its precision.
        stored: Images that an ingest stored.
        parts: In the order of their turns.
        ratios: Of the ingest to each of the others.
        agreement: How fastembed's vectors agree with ours, if it ran.
        versions: Of the packages that a peer ran on, by peer.
    """

    model: str
    stored: int
    parts: list[Part]
    ratios: list[Ratio]
    agreement: Agreement | None
    versions: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Asked:
    """What to measure: rounds, seconds of each loop and peer, which peers, and the Python that has them."""

    options: SourceOptions
    rounds: int
    seconds: float
    peers: Sequence[str]
    python: str


def measure(folder: Path, prepared: Prepared, asked: Asked, advance: Advance) -> list[Measured]:
    """Return what was measured of each model.

    Args:
        folder: That of `prepare`, with room for an index.
        prepared: What it made.
        asked: What to measure.
        advance: Called after each turn of a model.

    Raises:
        CbirError: An ingest or a loop failed.
    """
    turns = [_Turns(folder, prepared, number, asked) for number in range(len(prepared.files))]
    for _ in range(asked.rounds):
        for one in turns:
            one.take()
            advance(1)
    return [one.measured(turns[0]) for one in turns]


class _Turns:
    """The parts of one model, and what they did so far."""

    def __init__(self, folder: Path, prepared: Prepared, number: int, asked: Asked):
        self._file, self._card = prepared.files[number], prepared.cards[number]
        self.name = model_name(self._card.name, self._card.precision)
        self._index, self._pictures = folder / "index", folder / "pictures"
        self._source, self._asked = prepared.source, asked
        self._stored = 0
        self._settings: dict[str, Mapping[str, Any]] = {}
        self.peers = [
            Peer(
                name,
                asked.python,
                Task(
                    model=self._file,
                    card=self._card,
                    pictures=self._pictures,
                    vectors=folder / f"vectors-{number}.npy",
                    folder=folder / f"{name}-{number}",
                ),
            )
            for name in asked.peers
        ]
        names = [MODEL, BOUND, DURABLE, PUBLISHED, *(name for peer in self.peers for name in peer.settings)]
        self.runs: dict[str, list[Run]] = {name: [] for name in names}

    def take(self) -> None:
        """Run every part once."""
        summary = self._ingest()
        for name in (MODEL, BOUND):
            self._loop(name, summary)
        for peer in self.peers:
            for name, settings in peer.settings.items():
                child = peer.run(settings, self._asked.seconds)
                self._add(name, child, child.printed["images"], child.printed["seconds"], settings)

    def measured(self, first: "_Turns") -> Measured:
        """Return the medians; the ingest is also compared with the peers under the first model, if that is another."""
        parts = [_part(name, runs, self._settings[name]) for name, runs in self.runs.items()]
        parts += [Part(peer.name, _WHAT[peer.name], peer.missing) for peer in self.peers if peer.missing]
        others = {name: runs for name, runs in self.runs.items() if name not in (DURABLE, PUBLISHED)}
        if first is not self:
            others |= {f"{name}, {first.name}": first.runs[name] for peer in first.peers for name in peer.settings}
        ratios = [_ratio(DURABLE, self.runs[DURABLE], name, runs) for name, runs in others.items()]
        ratios.append(_ratio(PUBLISHED, self.runs[PUBLISHED], MODEL, self.runs[MODEL]))
        return Measured(
            model=self.name,
            stored=self._stored,
            parts=parts,
            ratios=ratios,
            agreement=next((peer.agreement for peer in self.peers if peer.agreement), None),
            versions={peer.name: peer.versions for peer in self.peers if peer.versions},
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
        self._add(
            DURABLE, child, self._stored, published - spent["build"], details, around, core_seconds=spent.get("core")
        )
        self._add(PUBLISHED, child, self._stored, published, details, around)
        return summary

    def _loop(self, name: str, summary: Mapping[str, Any]) -> None:
        loop = Loop(
            model=str(self._file),
            pictures=str(self._pictures),
            decode=name == BOUND,
            workers=summary["workers"],
            threads=summary["threads"],
            batch_size=summary["batch_size"],
            provider=summary["provider"],
            seconds=self._asked.seconds,
            max_megapixels=load_settings().max_image_megapixels,
        )
        child = run_child(name, [sys.executable, "-m", "cbir.bench.core.loops", json.dumps(asdict(loop))])
        settings = {"workers": loop.workers, "threads": loop.threads, "batch_size": loop.batch_size}
        found = child.printed
        self._add(name, child, found["images"], found["seconds"], settings, core_seconds=found["core_seconds"])

    def _add(
        self,
        name: str,
        child: Child,
        images: int,
        seconds: float,
        settings: Mapping[str, Any],
        around: float | None = None,
        core_seconds: float | None = None,
    ) -> None:
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


def _part(name: str, runs: Sequence[Run], settings: Mapping[str, Any]) -> Part:
    return Part(
        name=name,
        what=_WHAT.get(name, "the same with the settings that were fastest in a short trial"),
        images_per_second=spread([run.images_per_second for run in runs]),
        core_milliseconds=_median([run.core_milliseconds for run in runs]),
        around_seconds=_median([run.around_seconds for run in runs]),
        peak_megabytes=_median([run.peak_megabytes for run in runs]),
        others=_median([run.others for run in runs]),
        settings=settings,
    )


def _ratio(of: str, ours: Sequence[Run], to: str, theirs: Sequence[Run]) -> Ratio:
    pairs = list(zip(ours, theirs, strict=True))
    cores = [
        their.core_milliseconds / our.core_milliseconds if our.core_milliseconds and their.core_milliseconds else None
        for our, their in pairs
    ]
    return Ratio(
        of, to, spread([our.images_per_second / their.images_per_second for our, their in pairs]), _median(cores)
    )


def spread(values: Sequence[float]) -> Spread:
    """Return the median of some rounds, the lowest and the highest."""
    return Spread(statistics.median(values), min(values), max(values))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None

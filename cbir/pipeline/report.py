"""The summary of an ingest run: counted while it goes, shown to people or given to programs at its end."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cbir.pipeline.workers import ChunkResult
from cbir.records import Failure
from cbir.stores.embedded.build import build_peak, peak_memory

_STAGES = ("open", "read", "decode", "embed", "store", "build", "total", "core")


@dataclass
class IngestReport:
    """What came of a run.

    Example:
        >>> report = cbir.open("./fresh", create=True).add(["query.png", "broken.jpg"])
        >>> report.read, report.stored, report.skipped
        (2, 1, 1)
        >>> report.failures
        [{'key': 'broken.jpg', 'reason': 'not an image of a known format'}]

    Attributes:
        read: Images the source gave; read = stored + unchanged + skipped.
        stored: Images embedded and stored by this run; `changed` of them took the place of an earlier version.
        unchanged: Images that every store had already.
        duplicates: Images found to be copies of others; stored all the same unless copies are left out.
        missing: Stored images that were not in the source, if all of it was read; `removed` of them by this run.
        skipped: Images that could not be stored; `reasons` counts them, `failures` names them, `remembered` of them
            failed in an earlier run and were not tried again.
        images_per_second: stored / seconds["total"].
        seconds: Where the time went. open is until the first image is asked for; read, decode and embed are
            thread time divided by the workers; store is writing, build is building and publishing the indexes. core
            is processor time of this process between open and build.
        provider: What ran the model: onnxruntime's own code for the processor, or OpenVINO.
        peak_megabytes: Most memory that this process, and the largest of those that built an index, ever had.
    """

    collection: str
    stores: list[str]
    read: int = 0
    stored: int = 0
    changed: int = 0
    unchanged: int = 0
    duplicates: int = 0
    missing: int = 0
    removed: int = 0
    skipped: int = 0
    remembered: int = 0
    images_per_second: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_STAGES, 0.0))
    peak_megabytes: dict[str, int] = field(default_factory=dict)
    workers: int = 1
    threads: int = 1
    batch_size: int = 1
    provider: str = "cpu"
    resumed: int = 0
    interrupted: bool = False
    reasons: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    copies: list[dict[str, str]] = field(default_factory=list)
    removed_keys: list[str] = field(default_factory=list)

    def add(self, result: ChunkResult) -> None:
        """Count in what became of a chunk."""
        self.read += result.read
        self.unchanged += result.unchanged
        self.remembered += result.remembered
        for stage, spent in result.seconds.items():
            self.seconds[stage] += spent / self.workers

    def skip(self, failures: Sequence[Failure]) -> None:
        """Count in what could not be stored, or was not to be."""
        self.skipped += len(failures)
        self.failures += [{"key": one.key, "reason": one.reason} for one in failures]

    def finish(self, started: float) -> None:
        """Work out the totals."""
        self.seconds["total"] = time.perf_counter() - started
        self.images_per_second = self.stored / self.seconds["total"]
        self.peak_megabytes = {
            name: size // 10**6 for name, size in (("ingest", peak_memory()), ("build", build_peak()))
        }
        self.reasons = dict(Counter(skip["reason"] for skip in self.failures).most_common())

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        rounded = {stage: round(spent, 3) for stage, spent in self.seconds.items()}
        return {**asdict(self), "images_per_second": round(self.images_per_second, 2), "seconds": rounded}

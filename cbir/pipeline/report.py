"""The report of an ingest run, counted while the run goes on."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cbir.pipeline.renames import Rename
from cbir.pipeline.workers import ChunkResult
from cbir.records import Failure
from cbir.stores.embedded.build import build_peak, peak_memory

_STAGES = ("open", "read", "decode", "embed", "store", "build", "total", "core")


@dataclass
class IngestReport:
    """The result of an ingest run.

    Example:
        >>> report = cbir.open("./fresh", create=True).add(["query.png", "broken.jpg"])
        >>> report.read, report.stored, report.skipped
        (2, 1, 1)
        >>> report.failures
        [{'key': 'broken.jpg', 'reason': 'not an image of a known format'}]

    Attributes:
        read: The images of the source; read = stored + unchanged + skipped.
        stored: The images that this run stored; `changed` of them replaced an earlier version, and `reused` of them
            were not embedded, because an image with the same bytes was stored already.
        renamed: The stored images that this run of `sync` stored under another key, and no longer under the old one;
            `renames` has both keys of each.
        unchanged: The images that every store had already.
        duplicates: The images that are copies of others. They are stored too, unless the policy leaves them out.
        missing: The stored images that a completely read source does not have; this run removed `removed` of them.
        skipped: The images that were not stored; `reasons` counts them and `failures` names them. `remembered` of them
            failed in an earlier run and were not tried again.
        other_files: The files of a folder tree that are no images by their suffix.
        dry_run: True if nothing was changed; the counts are those of a real run.
        images_per_second: stored / seconds["total"].
        seconds: The time of each stage. "open" ends when the first image is read; "read", "decode" and "embed" are
            thread time divided by the workers; "store" is writing, "build" is building and publishing the indexes;
            "core" is the processor time of this process between open and build.
        precision: The precision of the model's calculation, fp32 or int8.
        device: What ran the model: "cpu" is onnxruntime's own code.
        peak_megabytes: The peak memory of this process, and of the largest process that built an index.
        example_key: The key of some stored image, "" if there is none.
    """

    collection: str
    stores: list[str]
    read: int = 0
    stored: int = 0
    changed: int = 0
    reused: int = 0
    unchanged: int = 0
    duplicates: int = 0
    missing: int = 0
    removed: int = 0
    renamed: int = 0
    skipped: int = 0
    remembered: int = 0
    other_files: int = 0
    dry_run: bool = False
    images_per_second: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_STAGES, 0.0))
    peak_megabytes: dict[str, int] = field(default_factory=dict)
    workers: int = 1
    threads: int = 1
    batch_size: int = 1
    precision: str = ""
    device: str = "cpu"
    resumed: int = 0
    interrupted: bool = False
    reasons: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    copies: list[dict[str, str]] = field(default_factory=list)
    removed_keys: list[str] = field(default_factory=list)
    renames: list[dict[str, str]] = field(default_factory=list)
    example_key: str = ""

    def add(self, result: ChunkResult) -> None:
        """Add the counts and times of a chunk."""
        self.read += result.read
        self.unchanged += result.unchanged
        self.remembered += result.remembered
        for stage, spent in result.seconds.items():
            self.seconds[stage] += spent / self.workers

    def skip(self, failures: Sequence[Failure]) -> None:
        """Add images that were not stored."""
        self.skipped += len(failures)
        self.failures += [{"key": failure.key, "reason": failure.reason} for failure in failures]

    def rename(self, renames: Sequence[Rename]) -> None:
        """Add images that were stored under another key."""
        self.renamed += len(renames)
        self.renames += [{"key": rename.key, "old_key": rename.old_key} for rename in renames]

    def finish(self, started: float) -> None:
        """Compute the totals; `started` is when the run began, by `time.perf_counter`."""
        self.seconds["total"] = time.perf_counter() - started
        self.images_per_second = self.stored / self.seconds["total"]
        self.peak_megabytes = {
            name: size // 10**6 for name, size in (("ingest", peak_memory()), ("build", build_peak()))
        }
        self.reasons = dict(Counter(skip["reason"] for skip in self.failures).most_common())

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        rounded = {stage: round(spent, 3) for stage, spent in self.seconds.items()}
        return {**asdict(self), "images_per_second": round(self.images_per_second, 2), "seconds": rounded}

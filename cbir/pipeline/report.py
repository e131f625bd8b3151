"""The summary of an ingest run: counted while it goes, shown to people or given to programs at its end."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from cbir.index.memory import peak_memory
from cbir.pipeline.journal import Failure
from cbir.pipeline.workers import ChunkResult
from cbir.stores.embedded.build import build_peak
from cbir.terminal import printable

_SHOWN = 20
_STAGES = ("open", "read", "decode", "embed", "store", "build", "total", "core")


@dataclass
class Summary:
    """What came of a run.

    Attributes:
        read: Images the source gave; read = stored + unchanged + skipped.
        stored: Images embedded and stored by this run; `changed` of them took the place of an earlier version.
        unchanged: Images that every store had already.
        duplicates: Images found to be copies of others; stored all the same unless copies are left out.
        gone: Stored images that were not in the source, if all of it was read; `removed` of them by this run.
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
    gone: int = 0
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


def show(summary: Summary, notes: Sequence[str]) -> None:
    """Print what was read, stored, removed and skipped, how fast, and where the time went."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("collection", summary.collection)
    table.add_row("stores", ", ".join(summary.stores))
    table.add_row("read", f"{summary.read:,}")
    table.add_row(
        "stored", f"{summary.stored:,}" + (f", {summary.changed:,} of them changed" if summary.changed else "")
    )
    table.add_row("unchanged", f"{summary.unchanged:,}")
    if summary.removed:
        table.add_row("removed", f"{summary.removed:,}")
    if summary.duplicates:
        table.add_row("copies", f"{summary.duplicates:,} of other images")
    remembered = f", {summary.remembered:,} as before and not tried again" if summary.remembered else ""
    table.add_row("skipped", f"{summary.skipped:,}{remembered}")
    table.add_row(
        "images/s",
        f"{summary.images_per_second:,.1f} ({summary.workers} workers, {summary.threads} model threads each, batches of"
        f" {summary.batch_size}, on {summary.provider})",
    )
    table.add_row("seconds", ", ".join(f"{stage} {spent:,.1f}" for stage, spent in summary.seconds.items()))
    peak = summary.peak_megabytes
    table.add_row("peak memory", f"{peak['ingest']:,} MB embedding, {peak['build']:,} MB building")
    console.print(table)
    for reason, count in summary.reasons.items():
        console.print(f"skipped {count:,}: {printable(reason)}", markup=False)
    _show_some(console, [f"{one['key']}: {one['reason']}" for one in summary.failures])
    _show_some(console, [f"removed {key}" for key in summary.removed_keys])
    for note in notes:
        console.print(note, markup=False)
    if summary.remembered:
        console.print("--retry-failed tries again what failed before")
    if summary.gone > summary.removed:
        console.print(
            f"{summary.gone - summary.removed:,} stored images are not in the source any more, and are still found;"
            " `cbir-ingest sync` removes such"
        )
    if summary.interrupted:
        console.print(
            f"interrupted: {summary.resumed + summary.stored:,} embedded images wait to be published; nothing is lost,"
            " the same command finishes the rest"
        )


def _show_some(console: Console, lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        console.print(f"  {printable(line)}", markup=False)
    if len(lines) > _SHOWN:
        console.print(f"  and {len(lines) - _SHOWN:,} more; --json names all")

"""An ingest on Ray Data: the nodes of a cluster ingest shares of the source into the same servers.

A share is an ordinary ingest with `shard=(i, n)`. If its worker dies, it is ingested again, and finds what was stored,
since ids depend on the images only. The calling process keeps the journal of failures, and completes the collection
when all shares are stored.
"""

import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from cbir import terminal
from cbir.errors import CbirError, DiskFullError, UsageError
from cbir.models.runtime import cores
from cbir.models.sealed import read_sealed
from cbir.pipeline.journal import Journal
from cbir.pipeline.model_file import file_for_ingest
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import DEFAULT_POLICY, Policy, ingest, stop_signals
from cbir.records import Failure
from cbir.settings import Settings
from cbir.sources.base import Source, SourceOptions, in_shard
from cbir.sources.registry import open_source
from cbir.stores.base import Catalog
from cbir.stores.registry import connect_all
from cbir.text import one_line

SHARES_A_WORKER = 2
"""More shares would be spread better, but each of them requests all ids from the server."""

_ATTEMPTS = 5
_SECONDS_TO_ANSWER = 10.0
_OBJECT_STORE_BYTES = 100 * 2**20
_ERRORS = {kind.exit_code: kind for kind in (CbirError, UsageError, DiskFullError)}


@dataclass(frozen=True)
class Job:
    """The task of every worker: the arguments of `ingest_on_ray`, and the failures of earlier runs."""

    source: str
    options: SourceOptions
    stores: Sequence[str]
    collection: str
    dataset: str | None
    policy: Policy
    settings: Settings
    failed: Mapping[str, Failure]


@dataclass(frozen=True)
class Share:
    """The result of one share: its report and the failures to remember, or else an error."""

    shard: tuple[int, int]
    report: IngestReport | None = None
    failures: Sequence[Failure] = ()
    error: str = ""
    exit_code: int = 0


_SHARE = TypeAdapter(Share)


def ingest_on_ray(
    source: str,
    options: SourceOptions,
    catalogs: Sequence[Catalog],
    model: str | Path,
    settings: Settings,
    collection: str | None = None,
    dataset: str | None = None,
    policy: Policy = DEFAULT_POLICY,
    address: str | None = None,
) -> tuple[IngestReport, Source]:
    """Ingest on a Ray cluster; return the report of all shares, and the source.

    Every node must be able to read the source and reach the servers; the model and the settings are sent to it.
    `address` is HOST:PORT of the head of the cluster; None starts one for this call, with `settings.workers` workers.
    What a share had stored before its worker died counts as unchanged.

    Raises:
        UsageError: As for `ingest`, or Ray is not installed or cannot do this; nothing was changed.
        CbirError: As for `ingest`, or the cluster failed or cannot be reached; what was stored is kept.
    """
    started = time.perf_counter()
    _check(catalogs, source, options, policy)
    if address is not None:
        _require_answer(address)
    opened = open_source(source, options)
    nothing = replace(opened, items=(), total=0, complete=False)
    file = file_for_ingest(model, settings, catalogs, collection, dataset or opened.name)
    content = read_sealed(file)
    unfinished = replace(policy, partial=True)
    report = ingest(nothing, catalogs, file, settings, collection, dataset, unfinished)
    one_worker = settings.model_copy(update={"workers": 1})
    stores = [url for catalog in catalogs for url in catalog.urls]
    failed = _failures(catalogs, report.collection, settings)
    job = Job(source, options, stores, report.collection, dataset, unfinished, one_worker, failed)
    try:
        with _cluster(settings, address) as workers, stop_signals():
            report.workers = workers
            with terminal.progress("embedding", opened.total) as advance:
                for share in _shares(job, content, workers):
                    if share.report is None:
                        raise _ERRORS.get(share.exit_code, CbirError)(share.error)
                    before = [failure.id for failure in _failed_before(job, share.shard)]
                    _remember(catalogs, job, share.failures, before)
                    _add(report, share.report)
                    advance(share.report.read)
    except KeyboardInterrupt:
        report.interrupted = True
    else:
        completed = ingest(nothing, catalogs, file, settings, report.collection, dataset, policy)
        report.seconds["build"] += completed.seconds["build"]
        report.example_key = completed.example_key
    report.finish(started)
    return report, opened


def _check(catalogs: Sequence[Catalog], source: str, options: SourceOptions, policy: Policy) -> None:
    """Raise `UsageError` if this ingest cannot run on Ray."""
    for catalog in catalogs:
        if not catalog.shared:
            raise UsageError(
                f"--runner ray fills Qdrant servers only, not {catalog.urls[0]}. Name one: --store http://HOST:6333"
            )
    if source == "-":
        raise UsageError("--runner ray needs a source that every node can read, and not standard input")
    if options.shard:
        raise UsageError("--runner ray divides the source itself. Remove --shard.")
    if policy.remove_missing:
        raise UsageError("sync does not run on Ray. Use add with --runner ray, and then sync without it.")
    if policy.dry_run:
        raise UsageError("--dry-run does not work with --runner ray")
    if policy.skip_duplicates or policy.near_duplicates is not None:
        raise UsageError("--runner ray does not find copies. `cbir-ingest duplicates` lists them afterwards.")
    if find_spec("ray") is None:
        raise UsageError("--runner ray needs Ray on this machine and on every node: pip install 'cbir[ray]'")


def _require_answer(address: str) -> None:
    """Raise a `CbirError` unless something listens at the address. Ray itself would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UsageError(f"Invalid --ray-address: {address!r}. Use HOST:PORT of the head of a Ray cluster.")
    try:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise CbirError(f"the Ray cluster at {address} cannot be reached: {error.strerror or error}") from None


@contextmanager
def _cluster(settings: Settings, address: str | None) -> Iterator[int]:
    """Join or start a cluster, and yield the number of its workers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")  # each of them takes half a minute
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        if address is None:
            workers = settings.workers or max(1, cores() // settings.threads)
            ray.init(
                "local",
                num_cpus=workers * settings.threads,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                **quiet,
            )
        else:
            ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        problem = f"the Ray cluster at {address} cannot be reached" if address else "Ray cannot be started"
        raise CbirError(f"{problem}: {one_line(error)[:300]}") from None
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 0)) // settings.threads)
    except ray.exceptions.RayError as error:
        raise CbirError(f"the Ray cluster failed: {one_line(error)[:300]}. What was stored is kept.") from None
    finally:
        ray.shutdown()


def _shares(job: Job, model: bytes, workers: int) -> Iterator[Share]:
    """Yield the results of the shares as they are done. If a worker or node dies, Ray runs its share elsewhere."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    count = SHARES_A_WORKER * workers
    shards = [{"number": number} for number in range(1, count + 1)]
    results = ray.data.from_items(shards, override_num_blocks=count).map(
        _run_share,
        fn_kwargs={"job": job, "count": count, "model": ray.put(model)},
        num_cpus=job.settings.threads,
        ray_remote_args_fn=lambda: {"max_retries": _ATTEMPTS},
    )
    for row in results.iter_rows():
        yield _SHARE.validate_json(row["share"])


def _run_share(row: dict[str, int], job: Job, count: int, model: Any) -> dict[str, bytes]:
    import ray

    shard = (row["number"], count)
    try:
        share = ingest_share(job, shard, ray.get(model))
    except CbirError as error:
        share = Share(shard, error=one_line(error), exit_code=error.exit_code)
    return {"share": _SHARE.dump_json(share)}


def ingest_share(job: Job, shard: tuple[int, int], model: bytes) -> Share:
    """Ingest one share of the source, with a journal of its own so that the workers of a node do not wait."""
    with tempfile.TemporaryDirectory(prefix="cbir-share-") as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(model)
        settings = job.settings.model_copy(update={"cache": Path(folder)})
        catalogs = connect_all(job.stores, settings)
        _remember(catalogs, job, _failed_before(job, shard))
        source = open_source(job.source, replace(job.options, shard=shard))
        report = ingest(source, catalogs, file, settings, job.collection, job.dataset, job.policy)
        if report.interrupted:
            terminal.leave(1)  # Ray is ending this worker, and will run its share elsewhere
        return Share(shard, report, list(_failures(catalogs, job.collection, settings).values()))


def _journal(catalog: Catalog, collection: str, settings: Settings) -> Journal:
    return Journal(catalog.journal(collection), settings.max_image_megapixels)


def _failures(catalogs: Sequence[Catalog], collection: str, settings: Settings) -> dict[str, Failure]:
    """Return the failures in the journals of this machine."""
    found: dict[str, Failure] = {}
    for catalog in catalogs:
        with closing(_journal(catalog, collection, settings)) as journal:
            found |= journal.failures
    return found


def _failed_before(job: Job, shard: tuple[int, int]) -> list[Failure]:
    return [failure for failure in job.failed.values() if in_shard(failure.key, shard)]


def _remember(
    catalogs: Sequence[Catalog], job: Job, failures: Sequence[Failure], forgotten: Sequence[str] = ()
) -> None:
    """Write failures into the journals of this machine, and forget those with these ids."""
    for catalog in catalogs:
        with closing(_journal(catalog, job.collection, job.settings)) as journal:
            journal.record([], failures)
            journal.commit(forgotten=forgotten)


def _add(total: IngestReport, share: IngestReport) -> None:
    """Add the report of a share to the total. The seconds of a stage are divided by the number of workers."""
    for name in ("read", "stored", "changed", "reused", "unchanged", "duplicates", "skipped", "remembered"):
        setattr(total, name, getattr(total, name) + getattr(share, name))
    total.failures += share.failures
    total.copies += share.copies
    for stage, spent in share.seconds.items():
        total.seconds[stage] += spent / total.workers

"""Makes a readable generation of what is left of a damaged collection; its indexes are built afterwards.

The vector log is rebuilt from its readable frames, the model from any unchanged copy, and the manifest from the files.
"""

import shutil
import zlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cbir.errors import DamageError, UsageError
from cbir.index import layout
from cbir.index.files import link, link_tree
from cbir.index.generation import (
    FileRecord,
    Generation,
    Marker,
    Plan,
    Pointer,
    manifest_in,
    numbered,
    open_generation,
    record_of,
)
from cbir.index.journal_file import damage_of, stored_keys
from cbir.index.json_file import load, save
from cbir.index.log_format import HEADER, MAGIC, frames, map_segment, segments
from cbir.index.names import MARKER
from cbir.index.publishing import locked, publish, remove_leftovers, set_aside
from cbir.index.vector_log import VectorLog
from cbir.models.sealed import find_unchanged
from cbir.models.text_tower import keep_text_tower
from cbir.records import id_text

_REPAIRING = "repairing"
_SHOWN = 5


@dataclass(frozen=True)
class Repair:
    """What was done, and what is lost, in sentences."""

    done: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def repair_files(folder: Path, model_file: Path | None, kinds: Collection[str]) -> Repair:
    """Publish what is left of the collection `folder` as its next generation, without the indexes that do not fit it.

    `model_file` may be a file of the model that made the vectors, and `kinds` has the existing kinds of indexes.

    Raises:
        UsageError: It is another model.
        DamageError: Nothing says which model made the vectors, or no log is left. Nothing was changed.
    """
    with closing(locked(folder)):
        report, generations = Repair(), numbered(folder)
        parts = [folder / layout.BUILDING, *generations]
        plan, work = _plan(folder, parts), folder / _REPAIRING
        if model_file and find_unchanged(plan.model, model_file) != model_file:
            raise UsageError(f"{model_file} is not the model {plan.model.name} ({plan.model.sha256[:12]})")
        if generations and not any(segments(part / layout.LOG) for part in parts):
            raise DamageError(
                f"{folder}: No log is left, so no point can be kept. Restore {generations[0] / layout.LOG} from a"
                " backup, or delete the collection. Nothing was changed."
            )
        shutil.rmtree(work, ignore_errors=True)
        (work / layout.LOG).mkdir(parents=True)
        _rebuild_model(plan, [*parts, *([model_file] if model_file else [])], work, report)
        readable = ((path, manifest) for path in generations if (manifest := manifest_in(path)))
        newest = next((Generation(*pair) for pair in readable), None)
        records = _records(folder, newest)
        damaged = _rebuild_log(parts, _tail(folder, newest, records), records, work / layout.LOG)
        points = VectorLog(work / layout.LOG, plan.model.dimension)
        report.done.append(f"the log has {len(points):,} points")
        if damaged:
            report.lost.append(_lost(damaged, stored_keys(folder / layout.JOURNAL), points))
        elif newest and newest.folder == generations[0]:
            _keep_indexes(newest, work)
        save(folder.parent / MARKER, Marker())
        engines = {name: engine for name, engine in plan.engines.items() if engine.kind in kinds}
        report.done.extend(
            f"the index {name} is left out: its kind is unknown" for name in plan.engines.keys() - engines
        )
        publish(folder, work, replace(plan, engines=engines), points)
        save(folder / layout.PLAN, replace(plan, engines=engines))  # last: until then an unfinished run needs it
        if damaged:
            for path in [*generations, *folder.glob(layout.TAIL)]:
                report.done.append(f"the damaged files are kept in {set_aside(path)}")
        remove_leftovers(open_generation(folder.parent, folder.name))
        shutil.rmtree(folder / layout.BUILDING, ignore_errors=True)
        if damage_of(folder / layout.JOURNAL):
            for path in folder.glob(f"{layout.JOURNAL}*"):
                path.unlink()
            report.done.append("the damaged journal was removed; the next ingest tries failed images again")
    return report


def _plan(folder: Path, parts: Sequence[Path]) -> Plan:
    """Return what the collection holds, by the first file that says so and whose model is there."""
    plans = [Generation(part, manifest).plan for part in parts[1:] if (manifest := manifest_in(part))]
    place = 1 if any(map(manifest_in, parts[1:2])) else 0  # a damaged manifest may have been newer than the others
    try:
        plans.insert(place, replace(load(folder / layout.PLAN, Plan), collection=folder.name, base=None))
    except DamageError:
        if not plans:
            raise DamageError(
                f"{folder}: neither a manifest nor {layout.PLAN} can be read, so nothing says which model made the"
                " vectors. Restore one of these files from a backup. Nothing was changed."
            ) from None
    found = (plan for plan in plans if find_unchanged(plan.model, *(part / layout.MODEL for part in parts)))
    return next(found, plans[0])


def _rebuild_model(plan: Plan, places: Sequence[Path], target: Path, report: Repair) -> None:
    model = find_unchanged(plan.model, *(place / layout.MODEL if place.is_dir() else place for place in places))
    if model is None:
        wanted = f"{plan.model.name} ({plan.model.sha256[:12]})"
        report.lost.append(f"no unchanged file of the model {wanted} was found. Give it with --model FILE")
        return
    keep_text_tower(model, target)
    if model.parent in places:
        link(model, target / layout.MODEL)
    else:
        shutil.copyfile(model, target / layout.MODEL)
        report.done.append(f"the model was taken from {model}")


def _records(folder: Path, newest: Generation | None) -> dict[str, FileRecord]:
    """Return what manifest and pointer say about the files, as far as they can be read."""
    records = dict(newest.manifest.files) if newest else {}
    with suppress(DamageError):
        pointer = load(folder / layout.POINTER, Pointer)
        if newest and pointer.generation == newest.folder.name:
            records |= {f"{layout.LOG}/{name}": record for name, record in pointer.tail.items()}
    return records


def _tail(folder: Path, newest: Generation | None, records: Mapping[str, FileRecord]) -> list[Path]:
    """Return the segments of the tail: those on record, and those that came later."""
    last = max(newest.log_names, default="") if newest else ""
    paths = sorted((folder / layout.TAIL).glob("*.log"))
    return [path for path in paths if path.name > last or f"{layout.LOG}/{path.name}" in records]


def _rebuild_log(
    parts: Sequence[Path], tail: Sequence[Path], records: Mapping[str, FileRecord], target: Path
) -> list[str]:
    """Fill the log `target` with the readable frames in `parts` and in `tail`; return the names of what is damaged."""
    recorded = {name.removeprefix(f"{layout.LOG}/") for name in records if name.startswith(f"{layout.LOG}/")}
    unfinished, *published = [segments(part / layout.LOG) for part in parts]
    existing = {path.name for path in [*unfinished, *tail, *next(filter(None, published), [])]}
    damaged = [f"{part.name}/{layout.LOG}" for part in parts[1:2] if not published[0]]
    for name in sorted(recorded | existing):
        copies = [path for path in [*(part / layout.LOG / name for part in parts), *tail] if path.name == name]
        copies = [path for path in copies if path.is_file()]
        record = records.get(f"{layout.LOG}/{name}")
        whole = next((copy for copy in copies if (record_of(copy) == record if record else _is_whole(copy))), None)
        if whole is not None:
            link(whole, target / name)
            continue
        _salvage(copies[::-1], target / name)
        if record or not records or copies != [parts[0] / layout.LOG / name]:  # a killed run may leave half a frame
            damaged.append(name)
    return damaged


def _is_whole(segment: Path) -> bool:
    return sum(size for _, size in frames(map_segment(segment))) == segment.stat().st_size


def _salvage(copies: Sequence[Path], target: Path) -> None:
    """Write the readable frames of all copies of a segment, those of the last copy last."""
    written = set[tuple[int, int]]()
    with target.open("xb") as file:
        for copy in copies:
            bodies = [body for body, _ in frames(map_segment(copy), skip_damaged=True)]
            sums = [(zlib.crc32(body), body.size) for body in bodies]
            for (checksum, size), body in zip(sums, bodies, strict=True):
                if (checksum, size) not in written:
                    file.write(HEADER.pack(MAGIC, checksum, size))
                    file.write(body)
            written.update(sums)


def _lost(damaged: Sequence[str], stored: Mapping[bytes, str], points: VectorLog) -> str:
    keys = [key for point_id, key in stored.items() if points.position(id_text(point_id)) is None]
    what = f"parts of the log cannot be read ({', '.join(damaged)})"
    if not keys:
        return f"{what}. The next ingest stores again what is missing"
    shown = ", ".join([*sorted(keys)[:_SHOWN], *(["..."] if len(keys) > _SHOWN else [])])
    return f"{what}, and {len(keys):,} points are lost: {shown}. The next ingest stores them again"


def _keep_indexes(generation: Generation, target: Path) -> None:
    """Link the undamaged indexes if the log in `target` is the published one."""
    published = {name for name in generation.manifest.files if name.startswith(f"{layout.LOG}/")}
    if published != {f"{layout.LOG}/{path.name}" for path in segments(target / layout.LOG)}:
        return
    for name in generation.manifest.engines:
        if not generation.damage(name):
            link_tree(generation.folder / name, target / name)

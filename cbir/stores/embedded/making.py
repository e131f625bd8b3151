"""Makes a generation: the engines are built from the whole log in a folder aside, which is published then.

A writer does it the first time and to build other indexes. It is also done to merge the tail into the engines, at a low
priority, while others search and change the collection.
"""

import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from cbir.index import layout
from cbir.index.files import link, link_tree
from cbir.index.generation import Generation, IndexRecord, Plan, damage_error, open_generation
from cbir.index.live_log import LiveLog
from cbir.index.log_format import segments
from cbir.index.log_writer import compact
from cbir.index.publishing import locked, pointer_lock, publish, remove_leftovers
from cbir.index.vector_log import VectorLog
from cbir.models.card import ModelRef
from cbir.models.sealed import find_unchanged
from cbir.models.text_tower import keep_text_tower
from cbir.progress import Progress
from cbir.stores.embedded.build import build_engine
from cbir.stores.embedded.growing import GrowingBuild
from cbir.stores.engines import ENGINES
from cbir.stores.recall import report_recall

_MOST_SEGMENTS = 64
_LARGEST_TAIL = 0.05
_LARGEST_SCAN = 4_000_000  # numbers, which take a quarter of a millisecond
_MOST_DEAD = 0.1
_FEW = 1000


def is_due(log: LiveLog) -> bool:
    """Return True if so much has changed since the engines were built that searches become slower."""
    points = len(log.base)
    largest = min(_LARGEST_TAIL * points, _LARGEST_SCAN / log.base.dimension)
    return len(log.tail) > max(_FEW, largest) or log.dead > max(_FEW, _MOST_DEAD * points)


def merge(folder: Path, progress: Progress, growing: Mapping[str, GrowingBuild] = MappingProxyType({})) -> bool:
    """Build the published engines of the collection `folder` with the points of its tail, and publish them.

    Those that are `growing` are completed. Return False if there is no tail, or another generation was published
    meanwhile. `CbirError` if another process does the same.
    """
    with pointer_lock(folder):  # others look at the other lock under this one
        lock, published = locked(folder, layout.MERGE_LOCK), open_generation(folder.parent, folder.name)
    if not published.tail:
        lock.close()
        return False
    plan, place = published.plan, layout.MERGING
    with closing(lock):
        return make_generation(folder, place, plan, [], published, None, (), progress, changed=False, growing=growing)


def make_generation(
    folder: Path,
    work: str,
    plan: Plan,
    written: Sequence[Path],
    published: Generation | None,
    model_file: Path | None,
    kept: Collection[str],
    progress: Progress,
    *,
    changed: bool = True,
    growing: Mapping[str, GrowingBuild] = MappingProxyType({}),
) -> bool:
    """Publish a generation of the collection `folder` with what was `published` and what was `written` after that.

    The indexes that are `kept` are taken as they are published, the others are built in the folder `work`, where those
    that are `growing` are completed. Return False if the content has not `changed`, and another generation was
    published meanwhile.
    """
    making = folder / work
    shutil.rmtree(making, ignore_errors=True)
    try:
        (making / layout.LOG).mkdir(parents=True)
        if published is not None:
            published.require_intact(layout.LOG, layout.TAIL)
        for segment in [*(published.log_files() if published else []), *written]:
            link(segment, making / layout.LOG / segment.name)
        points = _points(making / layout.LOG, plan.model.dimension)
        for name, engine in plan.engines.items():
            if published is not None and name in kept:
                link_tree(published.folder / name, making / name)
            else:
                _build(making, name, engine, points, progress, not changed, growing.get(name))
        places = [published.folder / layout.MODEL] if published else []
        keep_model(plan.model, making / layout.MODEL, *places, folder / layout.BUILDING / layout.MODEL, model_file)
        done = publish(folder, making, plan, points, None if changed else published)
        with pointer_lock(folder):
            remove_leftovers(open_generation(folder.parent, folder.name))
        return done
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _build(
    making: Path,
    name: str,
    engine: IndexRecord,
    points: VectorLog,
    progress: Progress,
    low_priority: bool,
    growing: GrowingBuild | None,
) -> None:
    options = {**ENGINES[engine.kind].options, **engine.options}
    log = making / layout.LOG
    with progress(f"building {name}", len(points), "points") as advance:
        if growing is not None:
            recall = growing.finish(making / name, log, advance)
        else:
            recall = build_engine(engine.kind, making / name, log, points.dimension, options, advance, low_priority)
    if recall is not None:
        report_recall(f"the index {name}", recall)


def _points(folder: Path, dimension: int) -> VectorLog:
    """Return the log in a folder, compacted if half of its rows are dead or it has many segments."""
    points = VectorLog(folder, dimension)
    if points.dead <= len(points) and len(points.segments) <= _MOST_SEGMENTS:
        return points
    last = segments(folder)[-1]
    compact(folder, dimension)
    segments(folder)[-1].rename(last)  # numbers that are larger belong to changes that others publish meanwhile
    return VectorLog(folder, dimension)


def keep_model(model: ModelRef, target: Path, *places: Path | None) -> None:
    """Link or copy an undamaged file of the model, and its text tower, from the first of the places that has one.

    Raises:
        DamageError: There is none. If the last place is None, as in a repair, the model stays missing instead.
    """
    unchanged = find_unchanged(model, *(place for place in places if place is not None))
    if unchanged is None:
        if places[-1] is None:
            return
        what = f"{target}: no undamaged file of the model {model.name} ({model.sha256[:12]}) was found"
        raise damage_error(what, target.parent.parent)
    own = target.parent.parent in unchanged.parents  # others may write to a file elsewhere
    link(unchanged, target) if own else shutil.copyfile(unchanged, target)
    keep_text_tower(unchanged, target.parent)

"""`cbir-bench growth`: what a change to a large collection costs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from ..core.options import Json, splittable

if TYPE_CHECKING:
    from .measure import Measured

_REST = "the rest"


def growth(
    points: Annotated[int, typer.Option(min=1000, help="Points of the collection.")] = 36_906,
    dimension: Annotated[int, typer.Option(min=24, max=4096, help="Length of its vectors.")] = 1280,
    large_points: Annotated[
        int, typer.Option(min=0, help="Points of a second collection, such as 1000000; 0 for none.")
    ] = 0,
    large_dimension: Annotated[int, typer.Option(min=24, max=4096, help="Length of the vectors of that.")] = 256,
    large_images: Annotated[int, typer.Option(min=1, help="Images that the command adds to that at once.")] = 1000,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="Engine with its options, such as 'faiss?index=IVF256,Flat'; may be given several times.",
            show_default="edge and faiss",
        ),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(
            help="api, command, search, pause, first-ingest or commits; may be given several times.", show_default="all"
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Images that are added at once.")] = 100,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each change.")] = 5,
    commits: Annotated[int, typer.Option(min=2, help="Additions in a row.")] = 100,
    queries: Annotated[int, typer.Option(min=1, help="Searches that compare with a fresh build.")] = 200,
    first_ingest: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            callback=splittable,
            help="What a first ingest reads, with options of cbir-ingest.",
            show_default="made-up images",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the collections, for another run.", show_default="a temporary one"),
    ] = None,
    as_json: Json = None,
) -> None:
    """Compare changes of a large collection with a full rebuild, and a collection that has grown with a fresh build.

    Example: cbir-bench growth --case api --case command
    """
    import tempfile
    from dataclasses import replace

    from ..core.subject import deliver, envelope
    from ..core.timing import NoiseMeter
    from .measure import CASES, LARGE_CASES, GrowthOptions, Measured, measure
    from .result import NOTES, SUBJECT, GrowthResult
    from .workplace import Workplace

    chosen = list(dict.fromkeys(case or CASES))
    if unknown := set(chosen) - set(CASES):
        raise UsageError(f"Unknown --case {min(unknown)}. Use {', '.join(CASES)}.")
    engines = engine or ["edge", "faiss"]
    options = GrowthOptions(images, images, repeats, commits, queries, first_ingest)
    runs = [(points, dimension, chosen, options)]
    if large_points:
        names = [name for name in chosen if name in LARGE_CASES]
        runs.append((large_points, large_dimension, names, replace(options, by_command=large_images)))
    found, noise = Measured(), NoiseMeter()
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as temporary, _until_interrupted(found):
        for count, length, names, options in runs:
            with terminal.progress("storing", count, "points") as advance:
                place = Workplace(folder or Path(temporary), engines, count, length, advance)
            with terminal.progress("measuring", len(names), "cases") as advance:
                measure(place, names, options, found, advance)
            noise.look()
    result = GrowthResult(
        **envelope(SUBJECT.name, [*NOTES, *noise.noise().notes()]),
        engines=engines,
        points=points,
        dimension=dimension,
        **vars(found),
    )
    interrupted = _REST in found.failed
    deliver(SUBJECT, result, as_json, complete=not interrupted)
    if interrupted:
        terminal.leave(130)


@contextmanager
def _until_interrupted(found: "Measured") -> Iterator[None]:
    """Let Ctrl-C end a run that takes long, and show what was measured before."""
    try:
        yield
    except KeyboardInterrupt:
        found.failed[_REST] = "interrupted"

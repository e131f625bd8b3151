"""`cbir-bench models`: how fast each model is."""

from typing import Annotated, get_args

import typer

from cbir import terminal
from cbir.devices import Device
from cbir.errors import UsageError

from ..core.options import Json, Models, numbers


def models(
    model: Models = None,
    batch: Annotated[str, typer.Option(metavar="N,N", help="Images in one run.")] = "1,8,32",
    device: Annotated[
        str, typer.Option(metavar="NAME,NAME", help=f"What runs it: {', '.join(get_args(Device))}.")
    ] = "cpu",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each case.")] = 6,
    as_json: Json = None,
) -> None:
    """Time models: milliseconds an image and images a second, by precision, batch and device."""
    from cbir.models.runtime import cores
    from cbir.models.sealed import DEFAULT_MODEL, find_model

    from ..core.subject import deliver, envelope
    from ..embedding.model_speed import DEVICES, measure, notes
    from .result import SUBJECT, ModelsResult

    batches = numbers("--batch", batch, 1024)
    wanted = [part.strip() for part in device.split(",")]
    unknown = [name for name in wanted if name not in DEVICES]
    if unknown:
        raise UsageError(f"Unknown device {unknown[0]!r} in --device {device}. Use {', '.join(DEVICES)}.")
    devices = [name for name in DEVICES if name in wanted]
    files = [find_model(name) for name in model or [DEFAULT_MODEL]]
    total = (rounds + 1) * len(files) * len(devices) * len(batches)
    with terminal.progress("timing", total, "turns") as advance:
        found, noise = measure(files, devices, batches, rounds, advance)
    header = envelope(SUBJECT.name, notes(found, noise))
    deliver(SUBJECT, ModelsResult(**header, rounds=rounds, threads=cores(), speeds=found, noise=noise), as_json)

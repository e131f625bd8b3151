"""Each case by turns in several rounds: the call in this process, over a bare route, and over `cbir-serve`."""

import io
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial

import numpy as np
import orjson
from PIL import Image, UnidentifiedImageError

import cbir
from cbir import terminal
from cbir.errors import CbirError
from cbir.images.inputs import ImageInput
from cbir.records import Vector, vector_text
from cbir.settings import Settings

from ..core.timing import spread, timed
from ..core.workload import Workload
from .clients import Counted, send
from .result import Case
from .servers import free_port, started

_SIZE = (300, 400)
_IMAGES = 40
_BOUNDARY = "cbir-bench"
_FORM = f"multipart/form-data; boundary={_BOUNDARY}"


def measure(
    workload: Workload, clients: int, rounds: int, seconds: float, settings: Settings
) -> tuple[list[Case], float]:
    """Return the cases, and the seconds until `cbir-serve` was ready."""
    info, store = workload.infos[0], workload.stores[0]
    vectors, images = list(workload.vectors), _jpegs(workload)
    search = [orjson.dumps({"vector": vector_text(vector), "limit": workload.k}) for vector in vectors]
    forms = [_form(image, workload.k) for image in images]
    bare_port, port = free_port(), free_port()
    path = f"/v1/collections/{info.collection}/search"
    own = ["run", "--store", info.url, "--port", str(port)]
    with (
        closing(cbir.open(info.url, info.collection, settings=settings)) as collection,
        started("cbir.serve.command", own, port) as server,
        started("cbir.bench.http_api.bare", [info.url, info.collection, str(bare_port)], bare_port),
    ):
        by_image = partial(_search_image, collection, workload.k)
        runs: list[tuple[str, int, Callable[[], Counted]]] = [
            (
                "vector, the store's own call",
                1,
                lambda: _here(lambda vector: store.search(vector[None], workload.k), vectors, seconds),
            ),
            ("vector, a bare route", 1, lambda: send(bare_port, "/search", "application/json", search, 1, seconds)),
            ("vector, cbir-serve", 1, lambda: send(port, path, "application/json", search, 1, seconds)),
            (
                "vector, a bare route",
                clients,
                lambda: send(bare_port, "/search", "application/json", search, clients, seconds),
            ),
            ("vector, cbir-serve", clients, lambda: send(port, path, "application/json", search, clients, seconds)),
        ]
        if images:
            runs += [
                ("image, in Python", 1, lambda: _here(by_image, images, seconds)),
                ("image, cbir-serve", 1, lambda: send(port, path, _FORM, forms, 1, seconds)),
                ("image, cbir-serve", clients, lambda: send(port, path, _FORM, forms, clients, seconds)),
            ]
        counted: list[list[Counted]] = [[] for _ in runs]
        with terminal.progress("measuring", rounds * len(runs), "turns") as advance:
            for _ in range(rounds):
                for (name, number, run), found in zip(runs, counted, strict=True):
                    found.append(run())
                    if not found[-1].milliseconds:
                        raise CbirError(f"{name}, {number} clients: no request was answered")
                    advance(1)
    return [
        _case(name, number, found) for (name, number, _), found in zip(runs, counted, strict=True)
    ], server.ready_seconds


def _here(call: Callable[..., object], inputs: Sequence[Vector] | Sequence[bytes], seconds: float) -> Counted:
    """Call for each input, by turns, until the time is over."""
    spent: list[float] = []
    while sum(spent) < seconds * 1000:
        spent.append(timed(partial(call, inputs[len(spent) % len(inputs)])))
    return Counted(spent, 0, sum(spent) / 1000)


def _search_image(collection: cbir.Collection, k: int, image: ImageInput) -> object:
    return collection.search(image, limit=k)


def _case(name: str, clients: int, rounds: Sequence[Counted]) -> Case:
    medians = [float(np.median(found.milliseconds)) for found in rounds]
    rates = [len(found.milliseconds) / found.seconds for found in rounds]
    return Case(name, clients, spread(medians), spread(rates), sum(found.failed for found in rounds))


def _jpegs(workload: Workload) -> list[bytes]:
    """Return JPEG files of 300 x 400 pixels, made of stored thumbnails; none if there are no thumbnails."""
    store = workload.stores[0]
    files = []
    for thumbnail in filter(None, store.thumbnails(store.sample(_IMAGES, workload.seed))):
        buffer = io.BytesIO()
        with suppress(UnidentifiedImageError):
            Image.open(io.BytesIO(thumbnail)).convert("RGB").resize(_SIZE).save(buffer, "JPEG", quality=90)
            files.append(buffer.getvalue())
    return files


def _form(image: bytes, limit: int) -> bytes:
    """Return the body of a form with an image file and a limit."""
    parts = (
        b'content-disposition: form-data; name="limit"\r\n\r\n' + str(limit).encode(),
        b'content-disposition: form-data; name="image"; filename="a.jpg"\r\ncontent-type: image/jpeg\r\n\r\n' + image,
    )
    mark = f"--{_BOUNDARY}".encode()
    return b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"

"""Many visitors of the page at the same time, without browsers: each has a session of the real server.

`python -m tests.support.concurrent_visitors STORE ...` lets 20 of them search for a minute and prints the times of the
searches.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from cbir.settings import Settings
from cbir.stores.display import display_names
from cbir.stores.registry import open_store
from tests.support.browser import served

WAIT_SECONDS = 60


@dataclass(frozen=True)
class Searched:
    """The result of a search: seconds from the request to the end of the answer, number of hits, and errors."""

    seconds: float
    hits: int
    errors: tuple[str, ...]


def searches(address: str, parameters: str, ids: list[str], seconds: float, pause: float) -> list[Searched]:
    """Search for one stored image after the other for some seconds, with pauses, and return every search."""
    url = f"{address.replace('http', 'ws')}/_stcore/stream"
    with connect(url, origin=address, max_size=None) as socket:  # type: ignore[arg-type]
        search(socket, parameters)  # the page comes up
        give_up = time.monotonic() + seconds
        found = []
        for point_id in ids:
            if time.monotonic() > give_up:
                break
            found.append(search(socket, f"{parameters}&like={point_id}"))
            time.sleep(pause)
        return found


def search(socket: ClientConnection, parameters: str) -> Searched:
    """Run the page's script with an address's parameters and return what the browser would have drawn."""
    message = BackMsg()
    message.rerun_script.query_string = parameters
    start = time.perf_counter()
    socket.send(message.SerializeToString())
    hits, errors = 0, []
    while True:
        answer: Any = ForwardMsg.FromString(socket.recv(timeout=WAIT_SECONDS))  # type: ignore[arg-type]
        element = answer.delta.new_element
        if element.HasField("bidi_component"):
            hits = max(hits, element.SerializeToString().count(b'"rank":'))
        errors += [str(text) for text in (element.alert.body, element.exception.message) if text]
        if answer.HasField("script_finished"):
            return Searched(time.perf_counter() - start, hits, tuple(errors))


def search_concurrently(
    address: str, parameters: str, ids: list[str], visitors: int, seconds: float, pause: float = 0
) -> list[Searched]:
    """Let some visitors search at the same time, each in its own order of images, and return every search."""
    with ThreadPoolExecutor(visitors) as pool:
        orders = [np.random.default_rng(seed).permutation(ids).tolist() for seed in range(visitors)]
        runs = [pool.submit(searches, address, parameters, order, seconds, pause) for order in orders]
        return [search for run in runs for search in run.result()]


def main() -> None:
    """Run the visitors and print their times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", nargs="+")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=0, help="seconds between two searches of a visitor")
    options = parser.parse_args()
    for store, name in display_names(options.store).items():
        opened = open_store(store, None, Settings())
        ids = opened.sample(5000, 0)
        opened.close()
        with served(options.store, Path()) as address:
            parameters = f"store={quote_plus(name)}"
            search_concurrently(address, parameters, ids, 1, 1)
            found = search_concurrently(address, parameters, ids, options.visitors, options.seconds, options.pause)
        milliseconds = np.percentile([search.seconds * 1000 for search in found], [50, 95, 99])
        errors = sum(bool(search.errors) or not search.hits for search in found)
        who = f"{options.visitors} visitors with pauses of {options.pause:g} s"
        what = f"{len(found):,} searches in {options.seconds:g} s, {errors} failed"
        took = " / ".join(f"{value:.0f}" for value in milliseconds)
        print(f"{name}: {who}: {what}; the whole page in {took} ms (median, p95, p99)")  # noqa: T201


if __name__ == "__main__":
    main()

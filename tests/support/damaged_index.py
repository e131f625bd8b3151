"""Examines an index that may be damaged, in a child process with a time limit."""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

from cbir.errors import CbirError
from cbir.index.generation import Damage
from cbir.settings import Settings
from cbir.stores.registry import connect, open_store
from tests.support.building import both
from tests.support.made_index import VECTORS

SECONDS = 30


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES = {"flipped": flip, "truncated": truncate, "zeroed": zero, "deleted": Path.unlink}


CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["cbir.stores.embedded.edge", "cbir.stores.embedded.faiss_index"])


def verify_folder(root: Path, collection: str | None = None) -> list[Damage]:
    """Return the damage in an index folder."""
    return connect(f"edge:{root}", Settings()).verify(collection)


def answers(root: Path) -> list[object]:
    """Return the results of a search in both stores, or the type of the error."""
    found: list[object] = []
    for url in both(root):
        try:
            store = open_store(url, "made", Settings())
        except CbirError as error:
            found.append(type(error))
        else:
            found.append(store.search(VECTORS[:3], 5))
            store.close()
    return found


def _examine(root: Path, sender: Connection) -> None:
    """Send the output of `verify`, and the answers. A damaged file may make this process hang or crash."""
    sender.send((" ".join(str(damage) for damage in verify_folder(root)), answers(root)))


def examined(root: Path, what: str) -> tuple[str, list[object]]:
    """Return the output of `verify`, and the answers; messages call the damage `what`."""
    receiver, sender = CHILDREN.Pipe(duplex=False)
    child = CHILDREN.Process(target=_examine, args=(root, sender))
    child.start()
    sender.close()
    try:
        assert receiver.poll(SECONDS), f"{what}: it hangs"
        return receiver.recv()  # type: ignore[no-any-return]
    except EOFError:
        raise AssertionError(f"{what}: the process died") from None
    finally:
        child.kill()
        child.join()
        receiver.close()

"""Names of stores for people."""

from collections.abc import Sequence

from cbir.stores.url import parse, split
from cbir.text import redacted

_TITLES = {"edge": "Qdrant Edge", "faiss": "FAISS"}


def display_names(urls: Sequence[str]) -> dict[str, str]:
    """Return a short display name for each store URL: its engine, and enough of its path to be unique.

    A server's name is its URL without a password.
    """
    names: dict[str, str] = {}
    for depth in range(1, 2 + max((url.count("/") for url in urls), default=0)):
        names = {url: _display_name(url, depth) for url in urls}
        if len(set(names.values())) == len(names):
            break
    return names


def _display_name(url: str, depth: int) -> str:
    title = _TITLES.get(parse(url).scheme)
    _, path, options = split(url)
    shown = "/".join(path.split("/")[-depth:]) + (f"?{options}" if options else "")
    return f"{title} · {shown}" if title else redacted(url)

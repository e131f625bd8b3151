"""Fixtures of the page's tests: sites that are served once for all tests of a worker, and browser windows on them."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from cbir.pipeline.run import ingest
from cbir.progress import silent
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import connect, connect_all
from tests.support.browser import scrolls_no_way_sideways, served, window
from tests.support.building import MODEL, both, build, builder_for, plan_for, points_of, qdrant_writer, unit_vectors
from tests.support.examples import SampleImages
from tests.support.qdrant_points import publish
from tests.support.qdrant_server import qdrant_server
from tests.support.visitor import DESKTOP, ODD_NAME, PHONE

PASSWORD = "the-password"  # noqa: S105
WIDTHS = [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone", marks=pytest.mark.pages)]
PAGES_WIDTHS = [pytest.param(*width.values, id=width.id, marks=pytest.mark.pages) for width in WIDTHS]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that uses a browser."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


class Parameters(dict[str, list[str]]):
    """Stands in for the page's address, as Streamlit gives it."""

    def get_all(self, name: str) -> list[str]:
        return self.get(name, [])


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Stands in for the session of a visitor, with an empty address."""
    state: dict[str, object] = {}
    monkeypatch.setattr(streamlit, "session_state", state)
    monkeypatch.setattr(streamlit, "query_params", Parameters())
    return state


def write_shop(folder: Path, sample_images: SampleImages) -> Path:
    """Write a table of 80 images with fields of all kinds, an exact copy of the first, and a near-duplicate of it."""
    folder.mkdir()
    rows = []
    for number, (key, label, data) in enumerate(sample_images[:160:2]):
        (folder / f"{key}.png").write_bytes(data)
        rows.append(
            {
                "path": f"{key}.png",
                "label": label,
                "name": f"Picture {number}",
                "year": 2000 + number % 10,
                "new": number % 4 == 0,
                "colour": ("red", "green", "blue")[number % 3],
            }
        )
    first = sample_images[0][2]
    (folder / "copy.png").write_bytes(first)
    image = Image.open(io.BytesIO(first)).convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    white.save(folder / "nearly.jpg", quality=90)
    for name in ("copy.png", "nearly.jpg"):
        rows.append(rows[0] | {"path": name, "name": f"The {name.partition('.')[0]}"})
    table = folder / "shop.jsonl"
    table.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return table


@pytest.fixture(scope="session")
def site(
    index: Path, sample_images: SampleImages, model_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """A server with a good, a rich, an empty, a damaged, an unreachable, a growing and an unlabelled store."""
    folder = tmp_path_factory.mktemp("site")
    grown = folder / "grown"
    grown.mkdir()
    for number, (_, _, data) in enumerate(sample_images[:4]):
        (grown / f"{number}.png").write_bytes(data)
    (grown / ODD_NAME).write_bytes(sample_images[4][2])
    plain = folder / "plain"
    plain.mkdir()
    for number, (_, _, data) in enumerate(sample_images[:17]):
        (plain / f"{number}.png").write_bytes(data)
    damaged = folder / "damaged"
    shutil.copytree(index, damaged, ignore=shutil.ignore_patterns("views"))
    log = next(damaged.glob("*/0*/log/*.log"))
    log.write_bytes(log.read_bytes()[:-1] + b"!")

    def store(source: Path, name: str) -> None:
        options = SourceOptions(label="label") if source.suffix else SourceOptions()
        stores = connect_all([f"edge:{folder / name}"], Settings())
        ingest(open_source(str(source), options), stores, model_file, Settings())

    store(grown, "growing")
    store(plain, "unlabelled")
    store(write_shop(folder / "shop", sample_images), "rich")
    (folder / ".env").write_text("CBIR_ALLOW_PRIVATE_ADDRESSES=1\n")
    stores = [
        f"edge:{index}",
        f"faiss:{index}/faiss",
        "edge:rich",
        "edge:empty",
        "edge:damaged",
        "http://me:secret@127.0.0.1:1",
        "edge:growing",
        "edge:unlabelled",
    ]
    variables = {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "NUMBA_DISABLE_JIT": "1",  # a real UMAP of few points, without the 20 seconds that compiling it takes
    }
    with served(stores, folder, variables=variables) as address:
        yield SimpleNamespace(address=address, folder=folder, grown=grown, grow=partial(store, grown, "growing"))


@pytest.fixture(scope="session")
def fragile_site(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A server with stores in every state, a Qdrant server among them; tests move them and put them back."""
    folder = tmp_path_factory.mktemp("fragile")
    for name in ("moving", "flipped"):
        shutil.copytree(index, folder / name, ignore=shutil.ignore_patterns("views"))
    config = next((folder / "flipped").glob("*/0*/edge/edge_config.json"))
    data = bytearray(config.read_bytes())
    data[len(data) // 2] ^= 1
    config.write_bytes(data)
    vectors = unit_vectors(40)
    build(both(folder / "odd"), vectors, "made-up-vectors")
    builder = builder_for([f"edge:{folder}/odd"], vectors, "half-built")
    builder.write(points_of(vectors)[:10])
    builder.close()
    cut = folder / "cut"
    build(both(cut), vectors, "cut-short")
    next(cut.glob("*/0*/log/*.log")).write_bytes(b"")
    with qdrant_server() as server, qdrant_server() as foreign:
        copy_all(f"edge:{index}", server.url)
        model = replace(MODEL, name="efficientnet_lite0", sha256="0" * 64)
        writer = qdrant_writer(foreign.url, replace(plan_for(vectors, "foreign"), model=model), Settings())
        writer.write(points_of(vectors))
        publish(writer)
        stores = ["edge:moving", "faiss:moving/faiss", "edge:flipped", "edge:odd", "edge:cut", "edge:empty"]
        stores += [server.url, foreign.url, f"http://me:{PASSWORD}@127.0.0.1:1"]
        with served(stores, folder) as address:
            yield SimpleNamespace(address=address, folder=folder, server=server, foreign=foreign, password=PASSWORD)


def copy_all(source: str, target: str) -> None:
    """Copy the collection of a store to another one."""
    (name,) = connect(source, Settings()).names()
    contents = connect(source, Settings()).contents(name)
    assert contents.model is not None
    writer = connect(target, Settings()).writer(contents.plan, contents.model)
    assert writer.write(list(contents.points())) == []
    writer.flush()
    writer.publish(silent)
    writer.close()


@pytest.fixture(params=WIDTHS)
def page(browser: Browser, site: SimpleNamespace, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The search page, just opened, in a window of its own."""
    yield from opened(browser, request.param, site.address)


@pytest.fixture(params=[pytest.param(DESKTOP, id="desktop", marks=pytest.mark.pages)])
def desktop(browser: Browser, site: SimpleNamespace, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The search page at the width of a desktop alone."""
    yield from opened(browser, request.param, site.address)


@pytest.fixture(params=PAGES_WIDTHS)
def shop(browser: Browser, site: SimpleNamespace, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The search page with the store of many fields."""
    yield from opened(browser, request.param, f"{site.address}/?store=Qdrant+Edge+%C2%B7+rich")


def opened(browser: Browser, width: int, address: str) -> Iterator[Page]:
    """Yield the search page, and check that it never gets wider than its window."""
    with window(browser, width, has_touch=width == PHONE) as page:
        page.goto(address)
        expect(page.locator(".tile")).to_have_count(10)
        yield page
        scrolls_no_way_sideways(page)


@pytest.fixture(params=PAGES_WIDTHS)
def tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty window."""
    with window(browser, request.param) as page:
        yield page


@pytest.fixture(params=[pytest.param(DESKTOP, id="desktop", marks=pytest.mark.pages)])
def desktop_tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty window at the width of a desktop alone."""
    with window(browser, request.param) as page:
        yield page

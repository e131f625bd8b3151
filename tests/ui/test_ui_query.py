"""What the page keeps of a query: in its address, in the upload cache, as a filter, and as a table to download."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import streamlit
from cbir.ui.components import gallery, hit_table, store_facts
from cbir.ui.pages.search_page import SIMILARITIES
from cbir.ui.query import address, filter_panel, images, state
from cbir.ui.query.choice import Chosen
from cbir.ui.query.images import UploadCache, UploadedImage
from cbir.ui.query.state import Example, Query
from hypothesis import given
from hypothesis import strategies as st

from cbir.collection import Collection
from cbir.errors import ImageError
from cbir.filters.conditions import FieldKind, Match, Range
from cbir.images.crop import Crop
from cbir.models.card import ModelRef
from cbir.results import Hit, Hits
from cbir.search.score_calibration import of_pairs
from cbir.settings import Settings
from cbir.stores.base import StoreInfo
from cbir.stores.registry import connect
from tests.support.examples import SampleImages
from tests.support.web_server import answer, serve

ID, OTHER = "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51", "00000000-0000-5000-8000-000000000000"


class Parameters(dict[str, list[str]]):
    """Stands in for the address, as Streamlit gives it."""

    def get_all(self, name: str) -> list[str]:
        return self.get(name, [])


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Stands in for the session of a visitor."""
    state: dict[str, object] = {}
    monkeypatch.setattr(streamlit, "session_state", state)
    monkeypatch.setattr(streamlit, "query_params", Parameters())
    return state


percents = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted).filter(lambda ends: ends[0] < ends[1])
crops = st.builds(lambda across, down: Crop(across[0], down[0], across[1], down[1]), percents, percents)
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(lambda text: "@" not in text)
refs = st.one_of(st.uuids().map(str), st.just("https://a.org/x@1,2.png?y=1"), texts)
examples = st.builds(Example, refs, st.none() | crops)


@given(st.lists(examples, max_size=12, unique=True), st.lists(examples, max_size=12, unique=True))
def test_an_address_says_the_whole_query(like: list[Example], unlike: list[Example]) -> None:
    asked = Query().with_examples("like", like).with_examples("unlike", unlike)
    assert state.from_address(state.to_address(asked)) == asked
    assert len(asked.like) <= state.MAX_EXAMPLES


@given(st.dictionaries(st.sampled_from(["like", "unlike"]), st.lists(st.text())))
def test_an_address_may_say_anything(parameters: dict[str, list[str]]) -> None:
    asked = state.from_address(parameters)
    assert state.from_address(state.to_address(asked)) == asked


def test_a_crop_that_cannot_be_is_left_out() -> None:
    assert state.from_address({"like": [f"{ID}@50,0,40,10", ID]}) == Query((Example(ID),))


def test_examples_are_added_turned_cropped_and_removed(session: dict[str, object]) -> None:
    state.search_for(ID)
    state.act("unlike", OTHER)
    assert state.current() == Query((Example(ID),), (Example(OTHER),))
    state.act("like", OTHER)
    assert state.current() == Query((Example(ID), Example(OTHER)))
    state.change("turn", 0, None)
    assert state.current() == Query((Example(OTHER),), (Example(ID),))
    state.change("crop", 1, [10, 10, 60, 60])
    assert state.current().unlike == (Example(ID, Crop(10, 10, 60, 60)),)
    for nonsense in ([10, 10, 5, 60], [1, 2], "x", [1.5, 2, 3, 4]):
        state.change("crop", 1, nonsense)
    state.change("turn", 7, None)
    state.change("dance", -1, None)
    state.change("crop", 1, None)
    assert state.current() == Query((Example(OTHER),), (Example(ID),))
    state.change("remove", 1, None)
    assert state.current() == Query((Example(OTHER),))
    state.act("ask", ID)
    assert state.current() == Query((Example(ID),))
    state.clear()
    assert state.current() == Query()


def test_the_address_is_taken_for_a_link_and_a_step_back_but_not_from_another_page(session: dict[str, object]) -> None:
    there = streamlit.query_params
    adopted: list[address.Parameters] = []
    read: Callable[[], None] = partial(address.read, adopted.append)
    there["like"], there["store"] = [ID], ["x"]
    read()
    read()
    assert adopted == [{"like": [ID]}], "a link is taken once, and what belongs to a widget is left alone"
    address.write({"like": [OTHER], "is.label": ["a", "b"], "to.year": []})
    assert dict(there) == {"like": [OTHER], "is.label": ["a", "b"], "store": ["x"]}
    read()
    address.write({"like": [OTHER]})
    assert there["is.label"] == []
    del there["is.label"]
    read()
    assert len(adopted) == 1, "what the page wrote itself says nothing new"
    there["like"] = [ID]
    read()
    assert adopted[1:] == [{"like": [ID]}], "a step back"
    del there["like"]
    session["arrived"] = True
    read()
    assert len(adopted) == 2, "another page had no query in its address"
    session["arrived"] = False
    address.write({"like": [OTHER]})
    del there["like"]
    read()
    assert adopted[2:] == [{"like": [ID]}], "a step back to where the visitor came from the other page"


def test_a_step_back_to_where_nothing_was_asked_asks_nothing(session: dict[str, object]) -> None:
    session["page"] = "search"
    session["arrived"] = True
    read: Callable[[], None] = partial(address.read, lambda parameters: state.adopt(parameters))
    read()
    session["arrived"] = False
    for ref in (ID, OTHER):
        state.search_for(ref)
        read()
        address.write(state.to_address(state.current()))
    for there in ({"like": [ID]}, {}):
        for name in list(streamlit.query_params):
            del streamlit.query_params[name]
        streamlit.query_params.update(there)
        read()
        assert state.to_address(state.current())["like"] == there.get("like", [])


def uploaded(name: str, size: int) -> UploadedImage:
    return UploadedImage(name, bytes(size))


def test_the_upload_cache_keeps_what_was_used_last() -> None:
    cache = UploadCache(room=100)
    names = [cache.put(uploaded(f"{number}", 30)) for number in range(3)]
    assert cache.get(names[0]) == uploaded("0", 30)
    last = cache.put(uploaded("3", 30))
    assert [cache.get(name) is not None for name in (*names, last)] == [True, False, True, True]
    large = cache.put(uploaded("large", 1000))
    assert [cache.get(name) is not None for name in (*names, last, large)] == [False, False, False, False, True]
    assert len({*names, last, large}) == 5
    assert all(len(name) >= 20 for name in names)


@pytest.fixture
def collection(index: Path) -> Iterator[Collection]:
    """The collection that the visitor has chosen; it may fetch from this machine."""
    settings = Settings(allow_private_addresses=True)
    with Collection([connect(f"edge:{index}", settings)], "photos-efficientnet_lite0", settings) as opened:
        yield opened


def test_images_that_cannot_be_used_are_named_and_the_others_searched(
    session: dict[str, object], sample_images: SampleImages, collection: Collection
) -> None:
    files = [
        ("a.png", sample_images[0][2]),
        ("b.png", b"no"),
        ("c.png", bytes(images.MAX_BYTES + 1)),
        ("d.png", sample_images[1][2]),
    ]
    images.upload(files, collection)
    first, second = state.current().like
    assert images.uploaded(first.ref, collection).data == sample_images[0][2]
    assert images.uploaded(second.ref, collection).name == "d.png"
    assert state.problems() == [
        "b.png cannot be used: not an image of a known format.",
        "c.png cannot be used: larger than 10 MB.",
    ]
    session["adding"] = True
    images.upload([("e.png", sample_images[2][2])], collection)
    assert (state.current().like[:2], len(state.current().like)) == ((first, second), 3)
    assert state.problems() == []
    images.upload([(f"{number}.png", data) for number, (_, _, data) in enumerate(sample_images[:11])], collection)
    assert len(state.current().like) == state.MAX_EXAMPLES
    assert state.problems() == ["Only the last 10 pictures are asked with."]


def test_an_image_that_had_to_make_room_is_said_to_be_gone(collection: Collection) -> None:
    with pytest.raises(ImageError, match="is gone; bring it again"):
        images.uploaded("a-name-that-nobody-knows", collection)


def test_a_url_is_fetched_once_within_limits(
    session: dict[str, object], sample_images: SampleImages, collection: Collection, index: Path
) -> None:
    public = Collection([connect(f"edge:{index}", Settings())], "photos-efficientnet_lite0", Settings())
    with serve() as site:
        site.pages["/cats/tom.png"] = partial(answer, body=sample_images[0][2])
        site.pages["/text"] = partial(answer, body=b"text")
        site.pages["/large"] = partial(answer, body=bytes(images.MAX_BYTES + 1))
        with pytest.raises(ImageError, match="cannot be used: .*private") as refused:
            images.uploaded(f"{site.url}/cats/tom.png", public)
        assert str(refused.value).endswith("127.0.0.1 leads to a private network.")
        assert site.asked == []
        for _ in range(2):
            assert images.uploaded(f"{site.url}/cats/tom.png", collection).name == "tom.png"
        assert len(site.asked) == 1
        for path in ("text", "large", "missing"):
            with pytest.raises(ImageError, match="cannot be used"):
                images.uploaded(f"{site.url}/{path}", collection)
    for text in ("file:///etc/passwd", "ftp://a.org/x.png", "/etc/passwd", "tom.png"):
        images.upload_url(text)
        assert state.current() == Query()
        assert "http:// or https://" in state.problems()[-1]


def test_a_filter_is_read_from_and_written_to_the_address(session: dict[str, object]) -> None:
    fields = {"label": FieldKind.TEXT, "year": FieldKind.NUMBER, "new": FieldKind.TRUTH}
    parameters = {"is.label": ["a", "7"], "from.year": ["2001"], "to.year": ["nonsense"], "is.new": ["true"]}
    session["is.old"] = ["x"]
    filter_panel.adopt(parameters)
    assert filter_panel.selected(fields) == (
        Match("label", ("a", "7", 7)),
        Range("year", gte=2001.0, lte=None),
        Match("new", ("true", True)),
    )
    assert filter_panel.selected(fields, without="label")[0] == Range("year", gte=2001.0, lte=None)
    del parameters["to.year"]
    assert filter_panel.parameters(fields) == parameters
    filter_panel.adopt({})
    assert filter_panel.selected(fields) == ()
    assert session["is.old"] == []


HITS = [
    Hit(ID, {"key": "a.png", "label": "cats", "sha256": "0", "name": '=HYPERLINK("http://x")', "year": 7}, 0.75),
    Hit(OTHER, {"key": "b, c.png", "label": None, "sha256": "1", "tags": ["x", "ü"]}, 0.5),
]


def test_a_table_of_hits_runs_no_formula() -> None:
    rows = list(csv.reader(io.StringIO(hit_table.as_csv(HITS))))
    assert rows[0] == ["rank", "score", "point", "key", "label", "sha256", "name", "year", "tags"]
    assert rows[1] == ["1", "0.750000", ID, "a.png", "cats", "0", '\'=HYPERLINK("http://x")', "7", ""]
    assert rows[2] == ["2", "0.500000", OTHER, "b, c.png", "", "1", "", "", '["x","ü"]']


def info(**changes: object) -> StoreInfo:
    model = ModelRef("lite0", "0" * 64, 8, 1, False)
    known = StoreInfo("edge:index", "photos", "000001", model, 1000, 1000, "graph", {"ef": "64"})
    return replace(known, **changes)  # type: ignore[arg-type]


def test_hits_as_json_say_all_there_is() -> None:
    found = json.loads(hit_table.as_json(Hits(HITS, milliseconds={"store": 1.23456}), info(), "graph"))
    assert [hit["payload"]["key"] for hit in found["hits"]] == ["a.png", "b, c.png"]
    assert (found["milliseconds"], found["access"], found["collection"]) == ({"store": 1.235}, "graph", "photos")


def test_how_a_store_searched_is_said_in_words() -> None:
    assert store_facts.how_searched(info(), False, False) == (
        "Approximate search by the graph (ef 64); 1,000 of 1,000 pictures are indexed."
    )
    partly = store_facts.how_searched(info(indexed=900), False, True)
    assert partly == (
        "Approximate search by the graph (ef 64) of 900 pictures; the 100 that are not in it yet were scanned."
        " The engine applied the filter."
    )
    assert store_facts.how_searched(info(), True, False) == "Exact search: all 1,000 pictures were compared (as asked)."
    scanned = store_facts.how_searched(info(access="scan", indexed=0, filtering="payload table"), False, True)
    assert scanned == (
        "Exact search: all 1,000 pictures were compared (so few need no graph). The payload table applied the filter."
    )


def test_a_score_is_told_as_a_share_of_the_pairs() -> None:
    scores = np.linspace(-0.5, 0.95, 10_000).astype(np.float32)
    calibration = of_pairs(scores, (scores > 0.5).astype(np.int8))
    assert gallery.share(0.5) == "top 50 %"
    assert gallery.share(0.9999) == "top 0.01 %"
    assert gallery.share(1.0) == "top <0.001 %"
    assert "Of the pairs with such a score, 100 % have the same label." in gallery.meaning(calibration, 0.9)
    assert gallery.share(calibration.percentile(calibration.score_at(SIMILARITIES["top 10 %"]))) == "top 10 %"
    unlabelled = of_pairs(scores, np.full(len(scores), -1, np.int8))
    assert "label" not in gallery.meaning(unlabelled, 0.9)


def test_an_upload_is_decoded_once_for_its_vector_thumbnail_and_preview(
    session: dict[str, object], sample_images: SampleImages, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []

    def decode(data: bytes, *arguments: object) -> object:
        decoded.append(data)
        return real(data, *arguments)

    real = images.decode
    monkeypatch.setattr(images, "decode", decode)
    data = sample_images[20][2]  # no other test uploads it
    images.upload([("a.png", data)], collection)
    chosen = Chosen(collection, collection.info)
    for _ in range(2):
        (example,), _ = images.make_ready(state.current(), chosen)
    assert decoded == [data]
    assert example.picture and example.large
    assert example.picture[:3] == example.large[:3] == b"\xff\xd8\xff"
    assert np.allclose(example.vector, collection.embed(data), atol=1e-6)
    state.change("crop", 0, [10, 10, 60, 60])
    (part,), _ = images.make_ready(state.current(), chosen)
    assert decoded == [data, data], "a part is cut from the whole at full size"
    assert np.allclose(part.vector, collection.embed(data, Crop(10, 10, 60, 60)), atol=1e-6)
    assert (part.large, part.picture != example.picture) == (example.large, True)

"""What the page keeps of a query: in its address, on the shelf, as a filter, and as a table to take along."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import streamlit
from cbir.ui.components import address, filter_panel, hit_table, results
from cbir.ui.query import state
from cbir.ui.query.state import Example, Query
from cbir.ui.query.upload_cache import Brought, Shelf, bring
from hypothesis import given
from hypothesis import strategies as st

from cbir.errors import ImageError
from cbir.filters.conditions import FieldKind, Match, Range
from cbir.models.sealed import ModelRef
from cbir.records import Hit
from cbir.search.score_calibration import of_pairs
from cbir.search.searcher import Answer, Crop
from cbir.settings import Settings
from cbir.stores.base import StoreInfo

from .web_server import answer, serve

Pictures = list[tuple[str, str | None, bytes]]
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
    state.ask_point(ID)
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
    state.forget()
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
    read: Callable[[], None] = partial(address.read, lambda parameters: state.ask(state.from_address(parameters)))
    read()
    session["arrived"] = False
    for ref in (ID, OTHER):
        state.ask_point(ref)
        read()
        address.write(state.to_address(state.current()))
    for there in ({"like": [ID]}, {}):
        for name in list(streamlit.query_params):
            del streamlit.query_params[name]
        streamlit.query_params.update(there)
        read()
        assert state.to_address(state.current())["like"] == there.get("like", [])


def brought(name: str, size: int) -> Brought:
    return Brought(name, bytes(size), b"", b"")


def test_the_shelf_keeps_what_was_used_last() -> None:
    shelf = Shelf(room=100)
    names = [shelf.put(brought(f"{number}", 30)) for number in range(3)]
    assert shelf.get(names[0]) == brought("0", 30)
    last = shelf.put(brought("3", 30))
    assert [shelf.get(name) is not None for name in (*names, last)] == [True, False, True, True]
    large = shelf.put(brought("large", 1000))
    assert [shelf.get(name) is not None for name in (*names, last, large)] == [False, False, False, False, True]
    assert len({*names, last, large}) == 5
    assert all(len(name) >= 20 for name in names)


def test_pictures_that_cannot_be_used_are_told_and_the_others_asked(
    session: dict[str, object], pictures: Pictures
) -> None:
    files = [
        ("a.png", pictures[0][2]),
        ("b.png", b"no"),
        ("c.png", bytes(state.MAX_BYTES + 1)),
        ("d.png", pictures[1][2]),
    ]
    state.ask_files(files, Settings())
    first, second = state.current().like
    assert state.picture(first.ref, Settings()).data == pictures[0][2]
    assert state.picture(second.ref, Settings()).name == "d.png"
    assert state.problems() == [
        "b.png cannot be used: not an image of a known format.",
        "c.png cannot be used: larger than 10 MB.",
    ]
    session["adding"] = True
    state.ask_files([("e.png", pictures[2][2])], Settings())
    assert (state.current().like[:2], len(state.current().like)) == ((first, second), 3)
    assert state.problems() == []
    state.ask_files([(f"{at}.png", one[2]) for at, one in enumerate(pictures[:11])], Settings())
    assert len(state.current().like) == state.MAX_EXAMPLES
    assert state.problems() == ["Only the last 10 pictures are asked with."]


def test_a_picture_that_had_to_make_room_is_said_to_be_gone() -> None:
    with pytest.raises(ImageError, match="is gone; bring it again"):
        state.picture("a-name-that-nobody-knows", Settings())


def test_a_url_is_fetched_once_within_limits(session: dict[str, object], pictures: Pictures) -> None:
    allowed = Settings(allow_private_addresses=True)
    with serve() as site:
        site.pages["/cats/tom.png"] = partial(answer, body=pictures[0][2])
        site.pages["/text"] = partial(answer, body=b"text")
        site.pages["/large"] = partial(answer, body=bytes(state.MAX_BYTES + 1))
        with pytest.raises(ImageError, match="cannot be used: .*private") as refused:
            state.picture(f"{site.url}/cats/tom.png", Settings())
        assert str(refused.value).endswith("127.0.0.1 leads to a private network.")
        assert site.asked == []
        for _ in range(2):
            assert state.picture(f"{site.url}/cats/tom.png", allowed).name == "tom.png"
        assert len(site.asked) == 1
        for path in ("text", "large", "missing"):
            with pytest.raises(ImageError, match="cannot be used"):
                state.picture(f"{site.url}/{path}", allowed)
    for text in ("file:///etc/passwd", "ftp://a.org/x.png", "/etc/passwd", "tom.png"):
        state.ask_url(text)
        assert state.current() == Query()
        assert "http:// or https://" in state.problems()[-1]


def test_a_filter_is_read_from_and_written_to_the_address(session: dict[str, object]) -> None:
    fields = {"label": FieldKind.TEXT, "year": FieldKind.NUMBER, "new": FieldKind.TRUTH}
    parameters = {"is.label": ["a", "7"], "from.year": ["2001"], "to.year": ["nonsense"], "is.new": ["true"]}
    session["is.old"] = ["x"]
    filter_panel.adopt(parameters)
    assert filter_panel.chosen(fields) == (
        Match("label", ("a", "7", 7)),
        Range("year", gte=2001.0, lte=None),
        Match("new", ("true", True)),
    )
    assert filter_panel.chosen(fields, without="label")[0] == Range("year", gte=2001.0, lte=None)
    del parameters["to.year"]
    assert filter_panel.parameters(fields) == parameters
    filter_panel.adopt({})
    assert filter_panel.chosen(fields) == ()
    assert session["is.old"] == []


HITS = [
    Hit(ID, 0.75, {"key": "a.png", "label": "cats", "sha256": "0", "name": '=HYPERLINK("http://x")', "year": 7}),
    Hit(OTHER, 0.5, {"key": "b, c.png", "label": None, "sha256": "1", "tags": ["x", "ü"]}),
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
    found = json.loads(hit_table.as_json(Answer(HITS, {"store": 1.23456}), info(), "graph"))
    assert [hit["payload"]["key"] for hit in found["hits"]] == ["a.png", "b, c.png"]
    assert (found["milliseconds"], found["access"], found["collection"]) == ({"store": 1.235}, "graph", "photos")


def test_how_a_store_searched_is_said_in_words() -> None:
    assert results.how_searched(info(), False, False) == (
        "Approximate search by the graph (ef 64); 1,000 of 1,000 pictures are indexed."
    )
    partly = results.how_searched(info(indexed=900), False, True)
    assert partly == (
        "Approximate search by the graph (ef 64) of 900 pictures; the 100 that are not in it yet were scanned."
        " The engine applied the filter."
    )
    assert results.how_searched(info(), True, False) == "Exact search: all 1,000 pictures were compared (as asked)."
    scanned = results.how_searched(info(access="scan", indexed=0, filtering="payload table"), False, True)
    assert scanned == (
        "Exact search: all 1,000 pictures were compared (so few need no graph). The payload table applied the filter."
    )


def test_a_score_is_told_as_a_share_of_the_pairs() -> None:
    import numpy as np

    scores = np.linspace(-0.5, 0.95, 10_000).astype(np.float32)
    scale = of_pairs(scores, (scores > 0.5).astype(np.int8))
    assert results.share(0.5) == "top 50 %"
    assert results.share(0.9999) == "top 0.01 %"
    assert results.share(1.0) == "top <0.001 %"
    assert "Of the pairs with such a score, 100 % have the same label." in results.meaning(scale, 0.9)
    assert results.share(scale.percentile(scale.score_at(results.SIMILARITIES["top 10 %"]))) == "top 10 %"
    unlabelled = of_pairs(scores, np.full(len(scores), -1, np.int8))
    assert "label" not in results.meaning(unlabelled, 0.9)


def test_a_picture_is_brought_with_a_thumbnail_and_a_preview(pictures: Pictures) -> None:
    picture = bring(pictures[0][2], "a.png", 40)
    assert picture.thumbnail[:3] == picture.preview[:3] == b"\xff\xd8\xff"
    assert picture.size == len(picture.data) + len(picture.thumbnail) + len(picture.preview)

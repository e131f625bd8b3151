"""The visitor's query."""

import pytest
from cbir.ui.query import state
from cbir.ui.query.state import Example
from hypothesis import given
from hypothesis import strategies as st

from cbir.images.crop import Crop

ID, OTHER = "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51", "00000000-0000-5000-8000-000000000000"
percents = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted).filter(lambda ends: ends[0] < ends[1])


crops = st.builds(lambda across, down: Crop(across[0], down[0], across[1], down[1]), percents, percents)
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(lambda text: "@" not in text)
refs = st.one_of(st.uuids().map(str), st.just("https://a.org/x@1,2.png?y=1"), texts)
signs = st.sampled_from(state.SIGNS)
images = st.builds(Example, refs, st.none() | crops, signs)
phrases = st.text(st.characters(exclude_categories=("Cs",)), min_size=1) | st.just(f"{ID}@1,2,30,40") | st.just(ID)
words = st.builds(Example, phrases, st.none(), signs, st.just(True))
examples = images | words


@given(st.lists(examples, max_size=24, unique=True))
def test_an_address_holds_the_whole_query(chosen: list[Example]) -> None:
    query = state.to_query(chosen)
    found = state.from_address(state.to_address(query))
    assert set(found) == set(query) and len(found) == len(query)
    assert state.from_address(state.to_address(found)) == found
    for kind in {(sign, words) for sign in state.SIGNS for words in (False, True)}:
        in_order = [[example for example in those if (example.sign, example.words) == kind] for those in (found, query)]
        assert in_order[0] == in_order[1]
    for sign in state.SIGNS:
        given = [example for example in chosen if example.sign == sign]
        assert [example for example in query if example.sign == sign] == given[-state.MAX_EXAMPLES :]


@given(st.dictionaries(st.sampled_from(["like", "unlike", "text", "unlike_text"]), st.lists(st.text())))
def test_an_address_may_hold_anything(parameters: dict[str, list[str]]) -> None:
    query = state.from_address(parameters)
    assert state.from_address(state.to_address(query)) == query


def test_an_impossible_crop_is_left_out() -> None:
    assert state.from_address({"like": [f"{ID}@50,0,40,10", ID]}) == (Example(ID),)


def test_texts_have_parameters_of_their_own_in_the_address() -> None:
    query = state.from_address({"text": ["red heart", "", ID], "unlike_text": ["a@1,2,30,40"], "like": ["red heart"]})
    like, heart, identity, unlike = query
    assert like == Example("red heart") and not like.stored  # the name of an uploaded image
    assert heart == Example("red heart", words=True) and not heart.stored
    assert identity == Example(ID, words=True) and not identity.stored, "a text is never the id of a stored image"
    assert unlike == Example("a@1,2,30,40", None, "unlike", words=True), "nor does it have a crop"
    assert state.to_address(query) == {
        "like": ["red heart"],
        "text": ["red heart", ID],
        "unlike": [],
        "unlike_text": ["a@1,2,30,40"],
    }


def test_a_text_replaces_the_query_or_is_added_to_it(session: dict[str, object]) -> None:
    state.search_for(ID)
    state.search_text("  red heart\n")
    assert state.current() == (Example("red heart", words=True),)
    for empty in ("", "  ", "\t\n\u3000"):
        session["shown"] = 48
        state.search_text(empty)
        assert state.current() == (Example("red heart", words=True),)
        assert session["shown"] == 48, "nothing happens"
    session["adding"] = True
    state.problems().append("a problem of the query before")
    state.search_text("a train")
    state.search_text("red heart")
    assert state.current() == (Example("red heart", words=True), Example("a train", words=True))
    assert state.problems() == [] and session["shown"] is None
    state.act("unlike", ID)
    assert state.current()[2] == Example(ID, sign="unlike")


@pytest.mark.parametrize("box", [None, [10, 10, 60, 60], "x"])
def test_a_text_is_turned_and_removed_but_not_cropped(box: object, session: dict[str, object]) -> None:
    query = (Example("red heart", words=True), Example(ID, Crop(1, 1, 9, 9)))
    state.search(query)
    session["shown"] = 48
    state.change("crop", 0, box)
    assert state.current() == query and session["shown"] == 48
    state.change("turn", 0, None)
    assert state.current() == (query[1], Example("red heart", sign="unlike", words=True))
    state.change("turn", 1, None)
    assert state.current() == query[::-1]
    state.change("remove", 1, None)
    assert state.current() == (query[1],)


def test_examples_are_added_turned_cropped_and_removed(session: dict[str, object]) -> None:
    state.search_for(ID)
    state.act("unlike", OTHER)
    assert state.current() == (Example(ID), Example(OTHER, sign="unlike"))
    state.act("like", OTHER)
    assert state.current() == (Example(ID), Example(OTHER))
    state.change("turn", 0, None)
    assert state.current() == (Example(OTHER), Example(ID, sign="unlike"))
    state.change("crop", 1, [10, 10, 60, 60])
    assert state.current()[1] == Example(ID, Crop(10, 10, 60, 60), "unlike")
    for nonsense in ([10, 10, 5, 60], [1, 2], "x", [1.5, 2, 3, 4]):
        state.change("crop", 1, nonsense)
    state.change("turn", 7, None)
    state.change("dance", -1, None)
    state.change("crop", 1, None)
    assert state.current() == (Example(OTHER), Example(ID, sign="unlike"))
    state.change("remove", 1, None)
    assert state.current() == (Example(OTHER),)
    state.act("search", ID)
    assert state.current() == (Example(ID),)
    state.clear()
    assert state.current() == ()

"""The visitor's query."""

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
examples = st.builds(Example, refs, st.none() | crops, st.sampled_from(state.SIGNS))


@given(st.lists(examples, max_size=24, unique=True))
def test_an_address_holds_the_whole_query(chosen: list[Example]) -> None:
    query = state.to_query(chosen)
    assert state.from_address(state.to_address(query)) == query
    for sign in state.SIGNS:
        given = [example for example in chosen if example.sign == sign]
        assert [example for example in query if example.sign == sign] == given[-state.MAX_EXAMPLES :]


@given(st.dictionaries(st.sampled_from(["like", "unlike"]), st.lists(st.text())))
def test_an_address_may_hold_anything(parameters: dict[str, list[str]]) -> None:
    query = state.from_address(parameters)
    assert state.from_address(state.to_address(query)) == query


def test_an_impossible_crop_is_left_out() -> None:
    assert state.from_address({"like": [f"{ID}@50,0,40,10", ID]}) == (Example(ID),)


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

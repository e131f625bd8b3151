"""The visitor's query."""

from cbir.ui.query import state
from cbir.ui.query.state import Example, Query
from hypothesis import given
from hypothesis import strategies as st

from cbir.images.crop import Crop

ID, OTHER = "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51", "00000000-0000-5000-8000-000000000000"


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

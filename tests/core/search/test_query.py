"""Queries by example on every kind of store: examples, diversity, groups and near-duplicates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.errors import UsageError
from cbir.filters.conditions import values_of
from cbir.filters.parser import parse_filter
from cbir.records import Hit, Vector
from cbir.search.query import Query, example_query, folded, search, search_groups
from cbir.stores.base import SearchParams, Store
from tests.support import clusters
from tests.support.building import unit_vectors
from tests.support.contract import BY_ID, COUNT, EXACT, KINDS, NOBODY, POINTS, VECTORS, WIDE, fast, scan


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, contract_stores: dict[str, Store]) -> Store:
    return contract_stores[request.param]


@fast
@given(st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=4), st.lists(st.integers(0, COUNT - 1), max_size=3))
def test_a_query_of_examples_is_a_search_from_their_mean(store: Store, good: list[int], bad: list[int]) -> None:
    positives, negatives = [POINTS[i].id for i in good], [POINTS[i].id for i in bad]
    query = VECTORS[good].mean(axis=0)
    if bad:
        query = 2 * query - VECTORS[bad].mean(axis=0)
    if np.linalg.norm(query) < 1e-3:
        return
    query = query / np.linalg.norm(query)
    found = search(store, Query(positives, negatives, 10, params=EXACT))
    expected = [pair for pair in scan(query, ()) if pair[1] not in {*positives, *negatives}][:10]
    assert np.allclose([hit.score for hit in found], [-score for score, _ in expected], atol=1e-4)
    assert not {hit.id for hit in found} & {*positives, *negatives}
    paged = search(store, Query(positives, negatives, 4, offset=3, params=EXACT))
    assert np.allclose([hit.score for hit in paged], [-score for score, _ in expected[3:7]], atol=1e-4)


def test_examples_may_be_vectors_and_must_exist(store: Store) -> None:
    mixed = search(store, Query([POINTS[0].id, VECTORS[1]], limit=5, params=EXACT))
    query = example_query(store, [VECTORS[0], VECTORS[1]], [])
    assert [hit.id for hit in mixed] == [point_id for _, point_id in scan(query, ()) if point_id != POINTS[0].id][:5]
    with pytest.raises(UsageError, match="no point with the id"):
        search(store, Query([NOBODY], limit=5))
    with pytest.raises(UsageError, match="at least one example"):
        search(store, Query([], [POINTS[0].id], 5))
    with pytest.raises(UsageError, match="cancel"):
        example_query(store, [VECTORS[0], -VECTORS[0]], [])


weights = st.floats(0.01, 100)
weighted = st.lists(st.tuples(st.integers(0, COUNT - 1), weights), min_size=1, max_size=4)


@fast
@given(weighted, st.lists(st.tuples(st.integers(0, COUNT - 1), weights), max_size=3), st.integers(-300, 300))
def test_the_mean_of_examples_is_weighted_and_only_the_ratios_of_weights_count(
    contract_stores: dict[str, Store], good: list[tuple[int, float]], bad: list[tuple[int, float]], exponent: int
) -> None:
    store = contract_stores["edge"]

    def mean(examples: list[tuple[int, float]]) -> Any:
        total = sum(weight * VECTORS[number].astype(float) for number, weight in examples)
        return total / sum(weight for _, weight in examples)

    def examples_of(examples: list[tuple[int, float]], factor: float = 1) -> list[tuple[str, float]]:
        return [(POINTS[number].id, weight * factor) for number, weight in examples]

    expected = 2 * mean(good) - mean(bad) if bad else mean(good)
    if np.linalg.norm(expected) < 1e-3:
        return
    query = example_query(store, examples_of(good), examples_of(bad))
    assert np.allclose(query, expected / np.linalg.norm(expected), atol=1e-5)
    scaled = example_query(store, examples_of(good, 10.0**exponent), examples_of(bad, 3.0))
    assert np.allclose(scaled, query, atol=1e-5), "a factor of all positives, or of all negatives, changes nothing"


def test_a_weight_of_two_is_an_example_given_twice(store: Store) -> None:
    first, second, third = POINTS[0].id, VECTORS[1], POINTS[2].id
    twice = Query([first, second, second], [third, third, POINTS[3].id], 12, params=EXACT)
    once = Query([first, (second, 2.0)], [(third, 2), POINTS[3].id], 12, params=EXACT)
    found, expected = search(store, once), search(store, twice)
    assert [hit.id for hit in found] == [hit.id for hit in expected]
    assert np.allclose([hit.score for hit in found], [hit.score for hit in expected], atol=1e-6)
    assert not {hit.id for hit in found} & {first, third}
    heavy = [hit.id for hit in search(store, replace(once, positives=[(first, 5.0), second]))]
    assert heavy != [hit.id for hit in found]
    assert first not in heavy, "a stored example with a weight is no hit either"


@pytest.mark.parametrize("weight", [0, 0.0, -1, -1e-9, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("sign", ["positives", "negatives"])
def test_a_weight_that_is_not_above_zero_is_refused(weight: float, sign: str, store: Store) -> None:
    query = replace(Query([POINTS[0].id], [POINTS[1].id], 5), **{sign: [POINTS[2].id, (POINTS[3].id, weight)]})
    for run in (search, search_groups):
        with pytest.raises(UsageError, match="^the weight of an example must be above 0. Examples .* are `unlike`$"):
            run(store, query if run is search else replace(query, group_by="label"))


def pages(store: Store, query: Query, depth: int) -> list[list[Hit]]:
    """Return the hits of a query, page by page."""
    return [search(store, replace(query, offset=offset)) for offset in range(0, depth, query.limit)]


@settings(fast, max_examples=8)
@given(
    number=st.integers(0, clusters.COPIED * clusters.COPIES - 1) | st.none(),
    seed=st.integers(0, 10_000),
    limit=st.integers(1, 60),
    exact=st.booleans(),
    stored=st.booleans(),
    diversity=st.sampled_from([0.0, 0.0, 0.5]),
)
def test_pages_have_every_hit_once(
    graph_store: Store, number: int | None, seed: int, limit: int, exact: bool, stored: bool, diversity: float
) -> None:
    """The query is a copy of many points, or near one, and the cut between two pages often lies among the copies."""
    if number is None:
        near = clusters.VECTORS[seed % clusters.COUNT] + 0.3 * unit_vectors(1, seed, clusters.DIMENSION)[0]
        example: str | Vector = near / np.linalg.norm(near)
    else:
        place = clusters.COPIED_AT[number]
        example = clusters.POINTS[place].id if stored else clusters.VECTORS[place]
    query = Query([example], limit=limit, params=SearchParams(exact=exact), diversity=diversity)
    found = pages(graph_store, query, min(90, 8 * limit))
    ids = [hit.id for page in found for hit in page]
    assert [len(page) for page in found] == [limit] * len(found)
    assert len(set(ids)) == len(ids)
    if exact:
        at_once = search(graph_store, replace(query, limit=len(ids)))
        assert ids == [hit.id for hit in at_once]
        vector = clusters.BY_ID[example].vector if isinstance(example, str) else example
        best = np.sort(clusters.VECTORS @ vector)[::-1][isinstance(example, str) :][: len(ids)]
        assert diversity or np.allclose([hit.score for hit in at_once], best, atol=1e-5)


@pytest.mark.parametrize("kind", ["edge", "faiss", "faiss-ivf"])
@pytest.mark.parametrize("limit", [10, 50])
def test_deep_pages_repeat_no_hit(graph_stores: dict[str, Store], kind: str, limit: int) -> None:
    """A wider search finds hits that a narrower one missed. Copies link to each other, and FAISS's walk ends there."""
    for place in [*clusters.COPIED_AT[::400], 5]:
        query = Query([clusters.VECTORS[place]], limit=limit, params=SearchParams(ef=8, nprobe=8))
        ids = [hit.id for page in pages(graph_stores[kind], query, 300) for hit in page]
        assert len(set(ids)) == len(ids) == 300


def test_an_expanded_query_is_its_mean_with_its_first_hits(store: Store) -> None:
    query = VECTORS[0]
    for filter in ((), parse_filter("label=Bags")):
        plain = Query([query], filter=filter, params=EXACT)
        first = [BY_ID[hit.id].vector for hit in search(store, replace(plain, limit=4))]
        mean = np.mean([query, *first], axis=0)
        expected = search(store, replace(plain, positives=[mean / np.linalg.norm(mean)], limit=20))
        found = search(store, replace(plain, expand=4, limit=20))
        assert [hit.id for hit in found] == [hit.id for hit in expected]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)
        pages = [search(store, replace(plain, expand=4, limit=5, offset=offset)) for offset in range(0, 20, 5)]
        assert [hit.id for page in pages for hit in page] == [hit.id for hit in found]
    nothing = Query([query], expand=4, min_score=1.1, params=EXACT)
    assert search(store, nothing) == []
    example = POINTS[3].id
    assert example not in [hit.id for hit in search(store, Query([example], expand=2, params=EXACT))]
    with pytest.raises(UsageError, match="expanded by 0 to 100 images, not 101"):
        search(store, Query([query], expand=101))


def test_diversity_spreads_the_hits(store: Store) -> None:
    query = VECTORS[0]
    plain = [hit.id for hit in store.search(query[None], 10, params=EXACT)[0]]
    assert [hit.id for hit in search(store, Query([query], diversity=0.0, params=EXACT))] == plain
    spread = search(store, Query([query], diversity=0.7, params=EXACT))
    assert spread[0].id == plain[0]
    assert len({hit.id for hit in spread}) == 10

    def likeness(ids: Sequence[str]) -> float:
        vectors = np.stack([BY_ID[point_id].vector for point_id in ids])
        return float((vectors @ vectors.T)[np.triu_indices(len(ids), 1)].mean())

    assert likeness([hit.id for hit in spread]) < likeness(plain)
    bags = parse_filter("label=Bags and year=2011")
    filtered = search(store, Query([query], diversity=0.5, filter=bags, params=WIDE))
    assert len(filtered) == min(10, store.count(bags))
    with pytest.raises(UsageError, match="diversity"):
        search(store, Query([query], limit=5, diversity=1.5))


@pytest.mark.parametrize("diversity", [0.2, 0.5, 0.9, 1.0])
def test_every_choice_follows_the_formula(store: Store, diversity: float) -> None:
    """At 0.5 and with a query that is a hit, a hit is worth as much as its copies, and as most others."""
    query = VECTORS[397]
    candidates = [BY_ID[point_id] for _, point_id in scan(query, ())[:100]]
    vectors = np.stack([point.vector for point in candidates]).astype(float)
    chosen = [0]
    while len(chosen) < 30:
        worth = (1 - diversity) * vectors @ query - diversity * (vectors @ vectors[chosen].T).max(axis=1)
        best = max(set(range(100)) - set(chosen), key=lambda i: (round(worth[i], 5), -i))
        chosen.append(best)
    found = search(store, Query([query], limit=30, diversity=diversity, params=EXACT))
    assert [hit.id for hit in found] == [candidates[i].id for i in chosen]


@pytest.mark.parametrize("few", [2, 32])
@pytest.mark.parametrize("field", ["label", "tags", "year", "absent"])
def test_groups_hold_the_best_of_each_value(
    store: Store, field: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cbir.search.query.FEW_GROUPS", few)
    query = unit_vectors(1, 77)[0]
    expected: dict[Any, list[float]] = {}
    for score, point_id in scan(query, ()):
        for value in dict.fromkeys(values_of(BY_ID[point_id].payload, field)):
            expected.setdefault(value, []).append(-score)
    found = search_groups(store, Query([query], limit=3, group_by=field, group_size=4, params=EXACT))
    assert [value for value, _ in found] == list(expected)[:3]
    for value, hits in found:
        assert np.allclose([hit.score for hit in hits], expected[value][:4], atol=1e-4)


@pytest.mark.parametrize("few", [2, 32])
@pytest.mark.parametrize("field", ["label", "year", "tags"])
def test_groups_are_ordered_by_their_best_hit_without_the_examples(
    store: Store, field: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cbir.search.query.FEW_GROUPS", few)
    rare = Counter(value for point in POINTS for value in values_of(point.payload, field)).most_common()[-1][0]
    every = [point.id for point in POINTS if rare in values_of(point.payload, field)]
    for examples in ([POINTS[0].id], [POINTS[0].id, POINTS[1].id, POINTS[2].id], every):
        expected: dict[Any, list[float]] = {}
        for score, point_id in scan(example_query(store, examples, []), ()):
            if point_id not in examples:
                for value in dict.fromkeys(values_of(BY_ID[point_id].payload, field)):
                    expected.setdefault(value, []).append(-score)
        query = Query(examples, limit=2, offset=1, group_by=field, group_size=3, params=EXACT)
        found = search_groups(store, query)
        assert [value for value, _ in found] == list(expected)[1:3]
        for value, hits in found:
            assert np.allclose([hit.score for hit in hits], expected[value][:3], atol=1e-4)


@fast
@given(seed=st.integers(0, 10_000), min_cosine=st.floats(0.5, 1.1), k=st.integers(0, 40))
def test_a_hit_is_folded_into_the_better_hit_it_resembles(store: Store, seed: int, min_cosine: float, k: int) -> None:
    hits = store.search(unit_vectors(1, seed), k, params=EXACT)[0] if k else []
    found = folded(store, hits, min_cosine)
    first = [hit for hit, _ in found]
    assert first == sorted(first, key=hits.index)
    assert sorted(hit.id for hit, copies in found for hit in (hit, *copies)) == sorted(hit.id for hit in hits)
    shown = np.array([BY_ID[hit.id].vector for hit in first])
    assert not found or (np.triu(shown @ shown.T, 1) < min_cosine + 1e-5).all()
    for i, (_, copies) in enumerate(found):
        assert copies == sorted(copies, key=hits.index)
        for copy in copies:
            likeness = shown[[hits.index(other) < hits.index(copy) for other in first]] @ BY_ID[copy.id].vector
            assert likeness[i] >= max(min_cosine, *likeness) - 1e-5


def test_a_deleted_hit_is_not_folded(store: Store) -> None:
    missing = Hit(NOBODY, {}, 0.5)
    assert folded(store, [missing, missing]) == [(missing, []), (missing, [])]

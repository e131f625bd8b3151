"""How a plan is shown."""

import pytest
from cbir.bench.capacity.plan import make_plan
from cbir.bench.capacity.result import NOTES, SUBJECT, PlanResult, present
from cbir.bench.core.subject import envelope

from cbir.models.embedder import Embedder
from cbir.tables import to_markdown
from tests.support.capacity import EDGE, FLAT, IMAGES, OPTIONS


@pytest.fixture
def result(embedder: Embedder) -> PlanResult:
    plans = [make_plan(count, OPTIONS, IMAGES, [EDGE, FLAT]) for count in (10**6, 10**9)]
    header = envelope("plan", NOTES)
    return PlanResult(**header, model=embedder.ref, options=OPTIONS, images=IMAGES, indexes=[EDGE, FLAT], plans=plans)


def test_a_result_is_the_same_after_saving_and_loading(result: PlanResult) -> None:
    assert SUBJECT.load(SUBJECT.dump(result)) == result


def test_the_verdicts_say_which_store_to_use(result: PlanResult) -> None:
    few, many = present(result).verdicts
    assert few == "1,000,000 images: 1 server of 128 GB, float32 in RAM: --store 'http://HOST:6333'"
    assert many.startswith("1,000,000,000 images: 20 servers of 128 GB, int8 in RAM")
    assert result.plans[1].recommended.url in many


def test_the_tables_hold_every_size(result: PlanResult) -> None:
    section = present(result)
    indexes, servers = section.tables
    assert [row[0] for row in indexes.rows] == [
        "1,000,000, edge", "1,000,000, faiss Flat", "1,000,000,000, edge", "1,000,000,000, faiss Flat",
    ]  # fmt: skip
    assert indexes.rows[0][1:4] == pytest.approx([7.274, 1.25, 1.282])
    hours = indexes.rows[0][4:]
    assert hours[0] == pytest.approx(10**6 * 0.01 / 3600)
    assert hours[2] == pytest.approx((hours[0] + hours[1]) / 64)  # type: ignore[operator]
    assert [row[3:] for row in servers.rows] == [[1, 1], [1, 1], [29, 2], [20, 2]]
    for table in section.tables:
        assert all(len(line) < 140 for line in to_markdown(table).splitlines())
    assert "100 images a second and core" in section.subject and "edge: 2,500 vectors a second" in section.subject

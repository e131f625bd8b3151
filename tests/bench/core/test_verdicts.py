"""Sentences that compare two measurements."""

from pathlib import Path

import pytest
from cbir.bench.core.verdicts import at_least, compared, interval, on_processor, processor_features, ratio_of

from cbir.models import runtime
from cbir.tables import Range


def test_the_faster_is_named_first_with_the_interval_of_the_rounds() -> None:
    expected = "FAISS answers 1.50 [1.25, 2.00] times as fast as LanceDB at recall@10 >= 0.99."
    fast, slow = [2.0, 4.0, 1.0] * 2, [3.0, 5.0, 2.0] * 2
    assert compared("FAISS", "LanceDB", fast, slow, "answers", "at recall@10 >= 0.99") == [expected]
    assert compared("LanceDB", "FAISS", slow, fast, "answers", "at recall@10 >= 0.99") == [expected]


def test_nothing_is_called_faster_after_fewer_than_six_rounds() -> None:
    (said,) = compared("a", "b", [2.0], [3.0], "answers")
    assert said == "Too few rounds (1) to call one faster: a answers 1.50 [1.50, 1.50] times as fast as b."
    assert compared("a", "b", [2.0] * 5, [3.0] * 5, "answers")[0].startswith("Too few rounds (5)")
    assert compared("a", "b", [2.0] * 6, [3.0] * 6, "answers")[0].startswith("a answers 1.50")


def test_without_rounds_nothing_is_compared() -> None:
    assert compared("a", "b", [], [3.0], "answers") == compared("a", "b", [2.0], [], "answers") == []


def test_what_one_round_denies_is_not_called_faster() -> None:
    (said,) = compared("a", "b", [1.0, 1.0, 1.0], [2.0, 3.0, 0.99], "embeds")
    assert said == "a and b do not differ beyond noise: a embeds 2.00 [0.99, 3.00] times as fast."


def test_ratios_are_of_the_same_round() -> None:
    assert ratio_of([1.0, 10.0], [2.0, 20.0]) == Range(2.0, 2.0, 2.0)


def test_bounds_are_rounded_outwards_and_shares_down() -> None:
    assert interval(Range(1.234, 0.9999, 1.4501)) == "1.23 [0.99, 1.46]"
    assert interval(Range(1.2, 1.1, 1.3)) == "1.20 [1.10, 1.30]"
    assert at_least(0.98999) == "0.9899" and at_least(0.99) == "0.9900"


def test_the_features_are_those_that_the_system_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tmp_path / "cpuinfo"
    monkeypatch.setattr(runtime, "_CPU_INFO", listed)
    assert processor_features() == ""
    listed.write_text("processor : 0\nflags\t\t: sse avx2 avx512_vnni avx_vnni\n")
    assert processor_features() == "AVX2, VNNI"
    assert on_processor({"features": "AVX2, VNNI"}) == " on a processor with AVX2, VNNI"
    assert on_processor({"features": "AVX2"}) == " on a processor with AVX2, without VNNI"
    assert on_processor({"cpus": 2}) == ""

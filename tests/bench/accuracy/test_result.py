"""How the accuracy of models is shown."""

from dataclasses import replace

import numpy as np
import pytest
from cbir.bench.accuracy.measure import ClassAccuracy, ImageSet, ModelAccuracy
from cbir.bench.accuracy.result import SUBJECT, AccuracyResult, notes, present
from cbir.bench.accuracy.significance import compare_models, ranks
from cbir.bench.core.metrics import Ranking, means, per_query
from cbir.bench.core.subject import envelope

from cbir.tables import Range, to_markdown
from tests.support.accuracy import OPTIONS

SHARES = {"good": 0.95, "equal": 0.95, "poor": 0.6}


@pytest.fixture(scope="module")
def result() -> AccuracyResult:
    """Three models with real metrics of random hits, on a data set named like the published one."""
    rng = np.random.default_rng(1)
    possible = np.full(400, 199)
    values = {name: per_query(Ranking(rng.random((400, 5)) < share, possible)) for name, share in SHARES.items()}
    values["equal"] = values["good"]
    intervals, pairs = compare_models(list(values.values()), "precision_at_5", 200, 1)
    models = [
        ModelAccuracy(
            name=name,
            precision="fp32",
            sha256=f"{number}" * 64,
            metrics=means(values[name]),
            intervals=bounds,
            with_copies=means(values[name]),
            rank=rank,
            classes=[
                ClassAccuracy("Shoes", 300, 3, means(values[name]), {"Shoes": 0.9, "Bags": 0.1}),
                ClassAccuracy("Bags", 100, 1, means(values[name]), {"Bags": 1.0}),
            ],
        )
        for number, (name, bounds, rank) in enumerate(zip(values, intervals, ranks(3, pairs), strict=True))
    ]
    images = ImageSet("fashion-product-images-small", 800, 2, 3, 400, 400, 0)
    options = replace(OPTIONS, label="subCategory", top_classes=10)
    header = envelope("accuracy", notes(options, images, ["WARNING: beware"]))
    return AccuracyResult(**header, settings=options, images=images, models=models, pairs=pairs)


def test_a_result_is_the_same_after_saving_and_loading(result: AccuracyResult) -> None:
    assert SUBJECT.load(SUBJECT.dump(result)) == result


def test_verdicts_name_the_best_model_and_what_may_be_chance(result: AccuracyResult) -> None:
    first, second, third = present(result).verdicts
    best = result.models[0].metrics["precision_at_5"]
    assert first.startswith(f"good (fp32) finds best: P@5 {best:.4f} (")
    assert second == "The difference to equal (fp32) may be chance."
    assert "ConvNeXt-Tiny 0.9739" in third


def test_a_difference_may_be_chance_though_the_ranks_differ(result: AccuracyResult) -> None:
    """The best model beats neither of the others beyond chance, but the second beats the third."""
    pairs = [replace(pair, better=1 if pair.models == (1, 2) else None) for pair in result.pairs]
    models = [replace(model, rank=rank) for model, rank in zip(result.models, ranks(3, pairs), strict=True)]
    assert [model.rank for model in models] == [1, 1, 2]
    verdicts = present(replace(result, models=models, pairs=pairs)).verdicts
    assert "The difference to equal (fp32), poor (fp32) may be chance." in verdicts


def test_the_tables_hold_what_was_measured(result: AccuracyResult) -> None:
    section = present(result)
    summary, published, every, pairs, classes, matrix = section.tables
    assert [row[0] for row in summary.rows] == ["good (fp32)", "equal (fp32)", "poor (fp32)"]
    assert [row[1] for row in summary.rows] == [1, 1, 3]
    poor = result.models[2]
    assert summary.rows[2][2] == Range(poor.metrics["precision_at_5"], *poor.intervals["precision_at_5"])
    assert published.rows[0][:2] == ["ResNet-18 (published)", 0.9651] and len(published.rows) == 9
    assert "small by design" in every.title and every.columns[7].header == "mAP@5"
    assert every.rows[2][7] == poor.metrics["map_at_5"]
    assert pairs.rows[-1][:2] == ["good (fp32)", "equal (fp32)"] and pairs.rows[-1][-1] == "neither"
    assert {row[-1] for row in pairs.rows[:2]} == {"first"}
    assert [row[-1] for row in classes.rows] == ["Bags (10.0%)", None]
    assert matrix.rows == [["Shoes", 0.9, 0.1], ["Bags", None, 1.0]]
    assert "WARNING: beware" in section.notes
    for table in section.tables:
        assert all(len(line) < 140 for line in to_markdown(table).splitlines()), table.title


def test_other_data_is_not_compared_with_the_published_table(result: AccuracyResult) -> None:
    content = SUBJECT.dump(result)
    content["images"]["name"] = "mine"
    assert not [table for table in present(SUBJECT.load(content)).tables if "published" in table.title]


@pytest.mark.parametrize(
    "other",
    [{"protocol": "leave-one-out"}, {"label": "kind"}, {"top_classes": 9}, {"limit": 9}, {"expand": 1}],
)
def test_other_options_are_not_those_of_the_published_protocol(
    result: AccuracyResult, other: dict[str, object]
) -> None:
    content = SUBJECT.dump(result)
    content["settings"] |= other
    section = present(SUBJECT.load(content))
    assert not [text for text in section.verdicts if "published" in text]
    assert not [table for table in section.tables if "published" in table.title]


def test_models_of_the_same_name_are_told_apart_by_their_checksum(result: AccuracyResult) -> None:
    content = SUBJECT.dump(result)
    content["models"][1]["name"] = "good"
    assert {str(row[0]) for row in present(SUBJECT.load(content)).tables[0].rows} == {
        "good (fp32) 000000",
        "good (fp32) 111111",
        "poor (fp32)",
    }

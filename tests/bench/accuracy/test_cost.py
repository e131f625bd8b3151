"""What accuracy costs: the Pareto front, its table and its plot."""

import pytest
from cbir.bench.accuracy.cost import cost_parts, front
from cbir.bench.embedding.model_speed import ModelSpeed
from hypothesis import given
from hypothesis import strategies as st

from cbir.evaluation.sections import Curves
from cbir.tables import Range, Table

MODELS = {"slow": (0.9, 9.0), "fast": (0.8, 1.0), "beaten": (0.7, 2.0), "best": (0.95, 30.0), "twin": (0.9, 9.5)}


def speed(milliseconds: float) -> ModelSpeed:
    return ModelSpeed(
        "m", "fp32", "cpu", 8, 256, 64, 3.5, False, "", 0.85, 0.017, Range(milliseconds, milliseconds, milliseconds)
    )


def test_the_front_by_hand() -> None:
    assert front(MODELS) == ["fast", "slow", "best"]


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.floats(0, 1), st.floats(0.1, 100)), min_size=1))
def test_a_model_is_on_the_front_unless_another_beats_it(models: dict[str, tuple[float, float]]) -> None:
    found = front(models)
    for name, (accuracy, time) in models.items():
        beaten = any(a >= accuracy and t <= time and (a, t) != (accuracy, time) for a, t in models.values())
        assert not (beaten and name in found)
        assert beaten or any(models[other] == (accuracy, time) for other in found)


def test_the_table_and_the_plot_have_every_model() -> None:
    accuracies = {name: accuracy for name, (accuracy, _) in MODELS.items()}
    speeds = {name: speed(milliseconds) for name, (_, milliseconds) in MODELS.items()}
    verdicts, (table, plot) = cost_parts(accuracies, speeds, "P@5")
    (verdict,) = verdicts
    assert verdict.startswith("The choice is between fast, slow, best: no other model here has both as high a P@5 and")
    assert isinstance(table, Table) and isinstance(plot, Curves)
    assert table.columns[2].better is None, "its interval is in the first table, which is compared"
    assert {str(row[0]) for row in table.rows if row[1] == "yes"} == {"fast", "slow", "best"}
    assert table.rows[0] == ["slow", "yes", 0.9, Range(9.0, 9.0, 9.0), 64, 256, 0.85, 0.017, 3.5]
    assert [(point.name, point.x, point.y) for point in plot.series["models"]] == [
        (name, *point) for name, point in MODELS.items()
    ]


def test_a_model_that_wins_in_both_is_no_choice() -> None:
    verdicts, _ = cost_parts({"small": 0.9, "large": 0.8}, {"small": speed(1), "large": speed(9)}, "P@5")
    assert verdicts == ["small has the highest P@5 and the lowest median time here."]


def test_a_single_model_is_no_choice() -> None:
    verdicts, parts = cost_parts({"slow": 0.9}, {"slow": speed(9)}, "P@5")
    assert not verdicts and [type(part) for part in parts] == [Table]


@pytest.mark.parametrize("speeds", [{}, {"slow": ModelSpeed("m", "fp32", "cuda", 8, 256, 64, 3.5, False, "no GPU")}])
def test_without_a_speed_there_is_nothing(speeds: dict[str, ModelSpeed]) -> None:
    assert cost_parts({"slow": 0.9}, speeds, "P@5") == ([], [])

"""Plots of a report."""

from cbir.bench.report.plots import draw

from cbir.evaluation.sections import Bar, Bars, CurvePoint, Curves

SERIES = {
    "edge": [CurvePoint(0.9, 100.0, True), CurvePoint(0.8, 50.0, False)],
    "faiss": [CurvePoint(1.0, 10.0, True)],
}


def test_plots_are_the_same_for_the_same_numbers() -> None:
    assert draw(Curves("p", "", "x", "y", SERIES, 0.99)) == draw(Curves("p", "", "x", "y", SERIES, 0.99))
    assert "edge" in draw(Curves("p", "", "x", "y", SERIES))


def test_a_point_with_a_name_has_it_next_to_it() -> None:
    plain, named = ({"models": [CurvePoint(0.9, 2.0, True, name)]} for name in ("", "lite0"))
    assert "lite0" in draw(Curves("p", "", "x", "y", named))
    assert "models" not in draw(Curves("p", "", "x", "y", plain)), "a single curve needs no legend"


def test_each_bar_has_its_name() -> None:
    drawn = draw(Bars("p", "", "ms", [Bar("edge", 1.0, 0.5, 2.0), Bar("faiss", 10.0, 9.0, 11.0)], logarithmic=True))
    assert "edge" in drawn and "faiss" in drawn

"""What accuracy costs: the speed and the size of each model next to how well it finds, and the Pareto front."""

from collections.abc import Mapping

from cbir.evaluation.sections import CurvePoint, Curves, Part
from cbir.tables import Cell, Column, Table

from ..embedding.model_speed import ModelSpeed

BATCH, ROUNDS = 8, 6
"""Images in a run, and turns of each model, when its speed is measured."""


def front(models: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names on the Pareto front of models of (accuracy, milliseconds), the fastest first.

    No other model is both at least as accurate and at least as fast, and better in one of the two.
    """
    found: list[str] = []
    best = -1.0
    for name, (accuracy, _) in sorted(models.items(), key=lambda item: (item[1][1], -item[1][0])):
        if accuracy > best:
            found.append(name)
            best = accuracy
    return found


def cost_parts(
    accuracies: Mapping[str, float], speeds: Mapping[str, ModelSpeed], metric: str
) -> tuple[list[str], list[Part]]:
    """Return the verdicts, and a table and a plot, of models by name; nothing if no speed was measured.

    `metric` is the name of the accuracy.
    """
    points = {
        name: (accuracy, time.value)
        for name, accuracy in accuracies.items()
        if name in speeds and (time := speeds[name].ms_an_image)
    }
    if not points:
        return [], []
    chosen = front(points)
    columns = [
        Column("model"),
        Column("on the front"),
        Column(metric, format=".4f"),
        Column("time", "ms an image", ".2f", better="lower"),
        Column("input", "pixels", "d"),
        Column("dimension", format=",d", detail=True),
        Column("parameters", "M", ".2f"),
        Column("multiply-adds", "billions", ".3f"),
        Column("file", "MB", ".1f"),
    ]
    rows: list[list[Cell]] = [[name, *_cells(name in chosen, accuracies[name], speeds[name])] for name in points]
    caption = f"{metric} and time of each model. The line joins those that no other beats in both"
    marks = [CurvePoint(accuracy, time, name in chosen, name) for name, (accuracy, time) in points.items()]
    title = (
        f"What accuracy costs: the model alone on the processor, batches of {BATCH}. On the front: no other model is as"
        " accurate and as fast"
    )
    table = Table(title, columns, rows)
    if len(points) == 1:
        return [], [table]
    if len(chosen) == 1:
        choice = f"{chosen[0]} has the highest {metric} and the lowest median time here."
    else:
        choice = (
            f"The choice is between {', '.join(chosen)}: no other model here has both as high a {metric} and as low a"
            " median time."
        )
    return [choice], [table, Curves("choice", caption, metric, "ms an image", {"models": marks})]


def _cells(on_front: bool, accuracy: float, speed: ModelSpeed) -> list[Cell]:
    size = (speed.input, speed.dimension, speed.parameters, speed.gigamacs, speed.megabytes)
    return ["yes" if on_front else "", accuracy, speed.ms_an_image, *size]

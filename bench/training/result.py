"""The result of `cbir-export train`, as a subject of the report. The bench itself trains nothing."""

from dataclasses import dataclass

from cbir.evaluation.sections import Section
from cbir.evaluation.trainings import KIND, as_section
from cbir.models.card import ModelCard

from ..core.subject import Result, Subject


@dataclass(frozen=True, kw_only=True)
class TrainingResult(Result):
    """The cards of the models that were trained on this machine."""

    models: list[ModelCard]


def present(result: TrainingResult) -> Section:
    """Return the section that shows a result."""
    return as_section(result.models, result.notes)


SUBJECT = Subject(KIND, TrainingResult, present)

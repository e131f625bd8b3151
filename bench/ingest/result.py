"""The result of `cbir-bench ingest`, and how it is shown."""

from dataclasses import dataclass

from cbir.evaluation.result_files import Result
from cbir.evaluation.sections import Section
from cbir.sources.base import SourceOptions

from ..core.subject import Subject
from ..embedding.measure import ModelEmbedding, embedding_tables, embedding_verdicts


@dataclass(frozen=True, kw_only=True)
class IngestResult(Result):
    """How fast an ingest runs with each model.

    `sample` is the number of images that the loops and baselines went through, `seconds` the length of their turns.
    """

    source: str
    options: SourceOptions
    sample: int
    rounds: int
    seconds: float
    models: list[ModelEmbedding]


def present(result: IngestResult) -> Section:
    """Return the section that shows a result."""
    subject = f"{result.source}: the command line beside its model alone, and beside other libraries."
    tables = embedding_tables(result.models)
    return Section(
        "How fast is an ingest?", subject, embedding_verdicts(result.models, result.machine), tables, result.notes
    )


SUBJECT = Subject("ingest", IngestResult, present)

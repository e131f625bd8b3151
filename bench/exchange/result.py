"""The result of `cbir-bench exchange`, and how it is shown."""

from dataclasses import dataclass

from cbir.evaluation.sections import Section

from ..core.subject import StoreResult, Subject


@dataclass(frozen=True, kw_only=True)
class ExchangeResult(StoreResult):
    """What was written: the bytes of each file by its path in `folder`, and why a search `failed`, by its name."""

    folder: str
    files: dict[str, int]
    failed: dict[str, str]


def present(result: ExchangeResult) -> Section:
    """Return the section that shows a result."""
    megabytes = sum(result.files.values()) / 1e6
    verdict = f"{len(result.files)} files, {megabytes:,.1f} MB; README.md says how to use them: {result.folder}"
    failed = [f"{name}: failed: {reason}" for name, reason in result.failed.items()]
    subject = f"{result.collection}: {result.points:,} points, {result.queries:,} queries, {result.k} neighbours."
    return Section("Files for other benchmarks", subject, [verdict], [], [*failed, *result.notes])


SUBJECT = Subject("exchange", ExchangeResult, present)

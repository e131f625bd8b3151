"""The command that measures an ingest."""

from tests.bench.ingest.conftest import run

__all__ = ["run"]

"""The subjects of the bench, in the order of a report. A new one is a folder and a line here."""

from collections.abc import Mapping
from typing import Any

from cbir.evaluation.trainings import KIND, TrainingResult, as_section

from .accuracy.result import SUBJECT as ACCURACY
from .baselines.result import SUBJECT as BASELINES
from .capacity.result import SUBJECT as PLAN
from .core.subject import Subject
from .exchange.result import SUBJECT as EXCHANGE
from .growth.result import SUBJECT as GROWTH
from .http_api.result import SUBJECT as HTTP
from .ingest.result import SUBJECT as INGEST
from .latency.result import SUBJECT as LATENCY
from .models.result import SUBJECT as MODELS
from .parity.result import SUBJECT as PARITY
from .text.result import SUBJECT as TEXT

TRAINING = Subject(KIND, TrainingResult, lambda result: as_section(result.models, result.notes))
"""What `cbir-export train` keeps. The bench itself trains nothing."""

_ALL = (ACCURACY, TRAINING, TEXT, PARITY, LATENCY, HTTP, MODELS, BASELINES, INGEST, GROWTH, PLAN, EXCHANGE)
SUBJECTS: Mapping[str, Subject[Any]] = {subject.name: subject for subject in _ALL}

"""Whether a collection can take the images of a run."""

import logging

from cbir.errors import UsageError
from cbir.images.libraries import warn_of_others
from cbir.index.generation import Plan

log = logging.getLogger(__name__)


def require_same(before: Plan, plan: Plan, name: str, same_source: bool) -> None:
    """Raise `UsageError` if a collection, called `name` in messages, cannot take the images of `plan`."""
    if before.model.sha256 != plan.model.sha256:
        raise UsageError(
            f"{name} was made with the model {before.model.described}, not with {plan.model.described}. Use another"
            " collection, or delete this one."
        )
    if before.source != plan.source and not same_source:
        raise UsageError(
            f"{name} was filled from {before.source}, not from {plan.source}. Use another collection, or name the data"
            f" set {before.dataset} if both sources hold it."
        )
    if before.source != plan.source:
        log.warning("%s was filled from %s: images with the same key are replaced", name, before.source)
    if before.dataset != plan.dataset:
        raise UsageError(f"{name} holds the data set {before.dataset}, not {plan.dataset}. Use another collection.")
    warn_of_others(name, before.model.libraries, plan.model.libraries)

"""Faults that the test servers, REST and gRPC, inject into their answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Fault:
    """What happens to the next requests that match.

    Attributes:
        match: A pattern to search in "METHOD /path" (REST) or in the method's name (gRPC).
        times: The number of requests; -1 for all of them.
        seconds: Delay of the answer.
        status: The request is not carried out and gets this HTTP status, or the gRPC status code of this name.
        details: The message with that status.
        retry_after: The header of this name, "" for none.
        update: The request is carried out, but answered with this update status instead of "completed" (REST).
        reset: The request is carried out, and the connection breaks in the middle of the answer (REST).
    """

    match: str = ""
    times: int = 1
    seconds: float = 0.0
    status: int | str = 0
    details: str = "injected by the test"
    retry_after: str = ""
    update: str = ""
    reset: bool = False


def take_fault(faults: Sequence[Fault], request: str) -> tuple[Fault, list[Fault]]:
    """Return the first fault that matches a request, and the faults that are left then; an empty one if none does."""
    for i, fault in enumerate(faults):
        if fault.times and re.search(fault.match, request):
            return fault, [*faults[:i], replace(fault, times=fault.times - 1), *faults[i + 1 :]]
    return Fault(), list(faults)

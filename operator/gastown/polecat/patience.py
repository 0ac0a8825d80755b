"""Asks servers again while they are away, for a bounded time; what they refuse becomes our kind of error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gastown.kube.errors import Advice, AlreadyExists, ApiError
from gastown.kube.rest import Client
from gastown.polecat.errors import Refused, Unreachable
from gastown.polecat.git import GitError

PATIENCE_SECONDS = 120.0
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 8.0
_REMEDIES = {"NotFound": "look for it with `bd list --all`", "Forbidden": "only what is on your own hook is yours to change"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What handing in needs of the outside.

    Attributes:
        report: Takes one line per step.
        is_interrupted: Ends what runs when it becomes true.
        patience_seconds: How long a server may be away, per step.
        sleep: Waits between attempts.
    """

    client: Client
    report: Callable[[str], None]
    is_interrupted: Callable[[], bool] | None = None
    patience_seconds: float = PATIENCE_SECONDS
    sleep: Callable[[float], None] = time.sleep


def patiently(about: str, call: Callable[[], T], around: Surroundings) -> T:
    """Do something that may be repeated, until it is done.

    Raises:
        AlreadyExists: For the caller, who knows what it means.
        Refused: The API server says no.
        Unreachable: No success in time, or the session stops.
    """
    deadline, wait = time.monotonic() + around.patience_seconds, _FIRST_WAIT_SECONDS
    while True:
        try:
            return call()
        except AlreadyExists:
            raise
        except (ApiError, GitError) as error:
            if isinstance(error, ApiError) and error.advice is not Advice.WAIT:
                raise refused_by_server(about, error) from error
            interrupted = around.is_interrupted is not None and around.is_interrupted()
            if interrupted or time.monotonic() + wait >= deadline:
                happened = f"the session stops: {error}" if interrupted else f"no success within {around.patience_seconds:.0f} s: {error}"
                raise Unreachable(about, happened, remedy="try again", reason="Unreachable") from error
            around.report(f"{about}: {error}; next try in {wait:.1f} s")
        around.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)


def refused_by_server(about: str, error: ApiError) -> Refused:
    """The API server's no, in our form."""
    reason = error.reason if error.reason.isidentifier() else "Refused"
    return Refused(about, error.message, remedy=_REMEDIES.get(reason, ""), reason=reason)

"""Waiting with a deadline for what can only be asked again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from gastown.local.errors import LocalTownError

_INTERVAL_SECONDS = 0.05


def wait_until(what: str, missing: Callable[[], str], *, timeout_seconds: float, remedy: Callable[[], str] = str) -> None:
    """Ask until nothing is missing.

    Args:
        what: What is waited for, as subject of the error: "kube-apiserver".
        missing: Says what is still missing, "" when all is there. An exception of it ends the waiting.
        timeout_seconds: Of the whole wait.
        remedy: Told behind the error when time is up, such as the end of a log.

    Raises:
        LocalTownError: Time is up; names what was missing last.
    """
    deadline = time.monotonic() + timeout_seconds
    while last := missing():
        if time.monotonic() > deadline:
            raise LocalTownError(f"{what}: not there after {timeout_seconds:.0f} s: {last}.{remedy()}")
        time.sleep(_INTERVAL_SECONDS)

"""Waiting in tests: with a deadline, never a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_INTERVAL_SECONDS = 0.05


def eventually(check: Callable[[], T], timeout_seconds: float = 60.0, describe: str = "") -> T:
    """Call a check until it gives something true, and return that.

    Args:
        check: Asked every 50 ms. An AssertionError of it counts as "not yet".
        timeout_seconds: Of the whole wait; generous, since machines may be slow and a long one costs nothing when all is well.
        describe: What is waited for, for the failure.

    Raises:
        AssertionError: Time is up; tells the last value or the last failure.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        failure = None
        try:
            value = check()
            if value:
                return value
            last = f"last value: {value!r}"
        except AssertionError as error:
            failure, last = error, f"last failure: {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"{describe or check.__name__} did not come true within {timeout_seconds:g} s; {last}") from failure
        time.sleep(_INTERVAL_SECONDS)

"""Unix time by the API server's clock, whatever the clock of this machine says.

Deciders compare "now" with times that the API server wrote (creationTimestamp, deletionTimestamp). With two clocks, one ten minutes
ahead, a pod that was told to end would count as lost at once. So now is the server's too: each of its answers carries a Date, and
in between our monotonic clock counts on, which nobody sets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime


class ServerClock:
    """The time at the API server, as precise as its answers are quick, and never worse than a second by much.

    Args:
        wall: Our own clock, for as long as no answer came.
        monotonic: Counts between answers.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        # The server's time minus our monotonic one lies between these; narrowed by each answer.
        self._bounds: tuple[float, float] | None = None

    def now(self) -> float:
        """Unix seconds."""
        return self._wall() if self._bounds is None else self._monotonic() + self._bounds[0]

    def heard(self, date: str | None, sent: float) -> None:
        """Take an answer.

        Args:
            date: Its header of that name, in whole seconds; None and what is no date is ignored.
            sent: Monotonic time at which the request was sent.
        """
        try:
            told = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        # Written at some time between sending and now, and up to a second later than it says.
        earliest, latest = told - self._monotonic(), told + 1.0 - sent
        if self._bounds is not None:
            low, high = max(self._bounds[0], earliest), min(self._bounds[1], latest)
            if low <= high:
                self._bounds = (low, high)
                return
        # The first answer; or one of the clocks was set, or this machine slept: what was known before is worth nothing.
        self._bounds = (earliest, latest)

"""SIGTERM and SIGINT of the pod: heard once, by everything that waits."""

from __future__ import annotations

import contextlib
import queue
import signal
import time
from enum import Enum
from pathlib import Path

from gastown.polecat.result import HANDOFF, Result, to_json

STOPPED_RESULT = Result(outcome=HANDOFF, reason="Stopped", message="the pod was told to stop")
_NAP_SECONDS = 0.2


class Wake(Enum):
    """Why the harness looks up while an agent runs."""

    EXITED = "the agent's command ended"
    STOPPED = "the pod is told to stop"
    DONE = "gt done wrote its result"
    TIMEOUT = "the session's time is over"
    NUDGED = "the Witness doubts that the agent works"


class StopSignal:
    """Whether the session is told to stop, and the queue that a waiting harness reads.

    Args:
        termination_log: Gets a first result at the signal, made better later: the grace period may end before the checkpoint is kept.
    """

    def __init__(self, termination_log: Path) -> None:
        # SimpleQueue because its put may run inside a signal handler.
        self.events: queue.SimpleQueue[Wake] = queue.SimpleQueue()
        self._termination_log = termination_log
        self._requested = False

    def listen(self) -> None:
        """Take over the signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def ignore(self) -> None:
        """From here on the session ends by itself; a late signal must not overwrite its result."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    def requested(self) -> bool:
        """Whether a signal came."""
        return self._requested

    def nap(self, seconds: float) -> None:
        """Sleep, but not into a stop."""
        end = time.monotonic() + seconds
        while not self._requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(_NAP_SECONDS, left))

    def _stop(self, _number: int, _frame: object) -> None:
        if not self._requested:
            self._requested = True
            # No word on failure: printing inside a signal handler may deadlock, and the end of the session tells it.
            with contextlib.suppress(OSError):
                self._termination_log.write_bytes(to_json(STOPPED_RESULT))
        self.events.put(Wake.STOPPED)

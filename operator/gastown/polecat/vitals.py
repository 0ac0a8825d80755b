"""What a session tells with each heartbeat besides being alive, and what it is told back.

A harness that lives proves nothing about its agent: one that waits for an answer that will never come looks the same from outside as
one that thinks. So the heartbeat carries what the agent's processes did so far; whoever watches only sees whether that changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gastown.api.labels import CHECKPOINT, NUDGE, PROGRESS
from gastown.polecat.descendants import work_of


@dataclass(slots=True)
class Vitals:
    """Filled by the harness, read by the thread of the heartbeat.

    Attributes:
        root: Process under which everything but the harness is the agent's.
        session_uid: Of the pod: a nudge for another session is none.
        nudged: Takes the words of a nudge, once.
        output_bytes: What the agent printed so far.
        checkpoint: The newest that was pushed, 40 hex digits or "": it would be forgotten if the session were killed now.
    """

    root: int
    session_uid: str
    nudged: Callable[[str], None]
    output_bytes: int = 0
    checkpoint: str = ""
    _last_nudge: str = ""

    def printed(self, count: int) -> None:
        """The agent printed so many bytes."""
        self.output_bytes += count

    def annotations(self) -> dict[str, str | None]:
        """For the Lease, as a merge patch: what an earlier session left there goes."""
        ticks, newest = work_of(self.root, without=os.getpid())
        return {PROGRESS: f"{self.output_bytes} bytes, {ticks} ticks, process {newest}", CHECKPOINT: self.checkpoint or None}

    def take(self, annotations: Mapping[str, str]) -> None:
        """Read the Lease's answer: it may hold a nudge."""
        told = annotations.get(NUDGE, "")
        if told == self._last_nudge or not self.session_uid or not told.startswith(f"{self.session_uid} "):
            return
        self._last_nudge = told
        self.nudged(told.partition(" ")[2])

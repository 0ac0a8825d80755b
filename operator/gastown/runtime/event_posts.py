"""Kubernetes Events about what was decided: best effort, and rate-limited so that a flapping object cannot flood the API server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from gastown.actions import Emit
from gastown.api.kinds import kind_of
from gastown.api.text import plain_lines

# The API server refuses longer ones.
MESSAGE_LIMIT = 1024
# The same words about the same object are worth repeating after this long.
REPEAT_SECONDS = 600.0
# Different words about one object: so many at once, then one per interval.
BURST = 10
INTERVAL_SECONDS = 60.0


class EventLimit:
    """Which Events are worth posting. Pure but for what it remembers.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str, str], float] = {}
        self._budget: dict[str, tuple[float, float]] = {}
        self._next_cleaning = 0.0

    def may_post(self, uid: str, reason: str, message: str) -> bool:
        """Whether this one passes; it counts as posted then."""
        now = self._clock()
        self._clean(now)
        words = (uid, reason, message)
        if now - self._last.get(words, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        left, since = self._budget.get(uid, (float(BURST), now))
        left = min(float(BURST), left + (now - since) / INTERVAL_SECONDS)
        if left < 1.0:
            self._budget[uid] = (left, now)
            return False
        self._budget[uid] = (left - 1.0, now)
        self._last[words] = now
        return True

    def _clean(self, now: float) -> None:
        if now < self._next_cleaning:
            return
        self._next_cleaning = now + REPEAT_SECONDS
        self._last = {words: posted for words, posted in self._last.items() if now - posted < REPEAT_SECONDS}
        # By then the budget is full again, which is what an unknown object starts with.
        self._budget = {uid: entry for uid, entry in self._budget.items() if now - entry[1] < BURST * INTERVAL_SECONDS}


def event_body(action: Emit, component: str, now: float) -> dict[str, Any]:
    """The core/v1 Event for an Emit.

    Args:
        component: Who says it.
        now: Unix seconds; with the object's name it makes the Event's own name.
    """
    metadata = action.object.metadata
    kind = kind_of(action.object)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata.name}.{int(now * 1e6):x}", "namespace": metadata.namespace},
        "involvedObject": {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resourceVersion,
        },
        "type": action.type,
        "reason": action.reason,
        "message": plain_lines(action.message[:MESSAGE_LIMIT])[:MESSAGE_LIMIT],
        "count": 1,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "source": {"component": component, "host": socket.gethostname()},
        "reportingComponent": component,
        "reportingInstance": socket.gethostname(),
    }

"""Tells the cluster that the session lives: renews the agent's Lease, in a thread of its own, through any outage of the API server."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from gastown.api.kinds import LEASE
from gastown.kube.configuration import ConfigurationError
from gastown.kube.errors import ApiError
from gastown.kube.rest import Client
from gastown.polecat.session import Session
from gastown.polecat.vitals import Vitals

# Three missed intervals count as silence, so the slowest of three jittered beats must still be within three of these.
_EARLIEST = 0.8


class Heartbeat:
    """The beat of one session.

    Args:
        connect: Makes the API client of this thread (a client is for one thread at a time).
        report: Takes one line when the beat starts to fail, and when it is back.
        vitals: What is told with it, and who hears what is told back.
    """

    def __init__(self, session: Session, connect: Callable[[], Client], report: Callable[[str], None], vitals: Vitals) -> None:
        self._session = session
        self._connect = connect
        self._report = report
        self._vitals = vitals
        self._stopped = threading.Event()
        self._due = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beat once now, and then until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """No further beat; one that is under way may still arrive."""
        self._stopped.set()
        self._due.set()

    def beat_now(self) -> None:
        """There is news that must not wait, such as a checkpoint."""
        self._due.set()

    def _beat_until_stopped(self) -> None:
        client: Client | None = None
        while not self._stopped.is_set():
            self._due.clear()
            try:
                client = client or self._connect()
                self._renew(client)
                self._note("")
            except (ApiError, ConfigurationError, OSError) as error:
                self._note(str(error))
            if not self._stopped.is_set():
                self._due.wait(self._session.heartbeat_seconds * random.uniform(_EARLIEST, 1.0))  # noqa: S311 - spreads, guards nothing

    def _renew(self, client: Client) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        patch = {
            "metadata": {"annotations": self._vitals.annotations()},
            "spec": {"holderIdentity": self._session.pod_uid, "renewTime": now},
        }
        answer = client.merge_patch(LEASE, self._session.namespace, self._session.agent, patch)
        # The answer is the whole Lease, so a nudge costs no request of its own.
        self._vitals.take(answer.get("metadata", {}).get("annotations") or {})

    def _note(self, problem: str) -> None:
        if problem and not self._failing:
            self._report(f"heartbeat: lease {self._session.namespace}/{self._session.agent} is not renewed, still trying: {problem}")
        elif self._failing and not problem:
            self._report(f"heartbeat: lease {self._session.namespace}/{self._session.agent} is renewed again")
        self._failing = bool(problem)

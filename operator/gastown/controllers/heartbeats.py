"""When did we last hear of each session? The memory behind `decide/witness.py`, by our own monotonic clock.

A Lease says when its session renewed it, by the clock of another machine. As leader election does, we only look whether that text
changed, and remember when we saw it change. Nothing of this is stored: who starts anew has seen nothing yet, and waits its full time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gastown.actions import Key
from gastown.api import labels, reasons
from gastown.api.core import Lease, Pod
from gastown.controllers.stores import Stores
from gastown.decide import session_end, witness
from gastown.decide.witness import Heartbeat
from gastown.runtime.feed import Feed, Pulse
from gastown.runtime.store import Change

# A session on a lost node may go on renewing beside its successor; one more may just have ended.
_HOLDERS_LIMIT = 3


@dataclass(slots=True)
class _Heard:
    """What was seen of one agent's Lease: each with the time at which it was seen first."""

    beats: dict[str, float] = field(default_factory=dict)  # holder -> its last renewal
    renewed: tuple[str, str] = ("", "")
    progress: tuple[str, float] = ("", 0.0)
    nudge: tuple[str, float] = ("", 0.0)


@dataclass(slots=True)
class _Watched:
    """One session's pod: when it was first seen, and first seen to run."""

    uid: str
    since: float
    running_since: float | None = None


class Heartbeats:
    """Keeps the times at which sessions were heard of.

    Args:
        feeds: Those of Leases among them tell since when nothing could be heard.
        clock: Monotonic seconds, as the event loop counts them.
    """

    def __init__(self, stores: Stores, feeds: Sequence[Feed], clock: Callable[[], float]) -> None:
        self._stores = stores
        self._pulses = {feed.name: feed.pulse for feed in feeds if feed.name.startswith("leases/")}
        self._clock = clock
        self._heard: dict[Key, _Heard] = {}
        self._watched: dict[Key, _Watched] = {}
        stores.leases.subscribe(self._on_lease)
        stores.pods.subscribe(self._on_pod)

    def of(self, key: Key, pod: Pod | None) -> Heartbeat:
        """What is known of the session in this pod of the agent."""
        lease = self._stores.leases.find(*key)
        watched = self._watched.get(key)
        if pod is None or watched is None or watched.uid != pod.metadata.uid or watched.running_since is None:
            age = self._clock() - watched.since if pod is not None and watched is not None else 0.0
            return Heartbeat(lease, age)
        now, heard, pulse = self._clock(), self._heard.get(key, _Heard()), self._pulse(key[0])
        # As long as the API server was away nobody could be heard, and nobody could renew either.
        deaf_until = max(watched.running_since, pulse.last_failed if pulse is not None else 0.0)
        beat = max(heard.beats.get(watched.uid, 0.0), deaf_until)
        nudge, nudged = heard.nudge
        reason = witness.nudge_reason(nudge, watched.uid)
        is_told_silent = reason == reasons.HEARTBEAT_MISSED and nudged > beat
        # The nudge itself comes back by the watch: only then it is sure that a heartbeat would have come, too.
        is_certain = pulse is None or pulse.last_heard >= nudged
        text, moved = heard.progress
        return Heartbeat(
            lease=lease,
            age=now - watched.since,
            silent=now - beat,
            is_told_silent=is_told_silent,
            nudged=now - nudged if is_told_silent and is_certain else None,
            still=now - max(moved, deaf_until) if text and watched.uid in heard.beats else None,
            is_told_still=reason == reasons.NO_PROGRESS and nudged > max(moved, deaf_until),
        )

    def _pulse(self, namespace: str) -> Pulse | None:
        return self._pulses.get(f"leases/{namespace}") or self._pulses.get("leases/*")

    def _on_lease(self, change: Change[Lease]) -> None:
        if change.after is None:
            self._heard.pop(change.key, None)
            return
        now, lease = self._clock(), change.after
        heard = self._heard.setdefault(change.key, _Heard())
        renewed = (lease.spec.holderIdentity, lease.spec.renewTime)
        if renewed != heard.renewed:
            heard.renewed = renewed
            heard.beats.pop(renewed[0], None)  # so that the newest stands last
            heard.beats[renewed[0]] = now
            while len(heard.beats) > _HOLDERS_LIMIT:
                del heard.beats[next(iter(heard.beats))]
        progress = lease.metadata.annotations.get(labels.PROGRESS, "")
        if progress != heard.progress[0]:
            heard.progress = (progress, now)
        nudge = lease.metadata.annotations.get(labels.NUDGE, "")
        if nudge != heard.nudge[0]:
            heard.nudge = (nudge, now)

    def _on_pod(self, change: Change[Pod]) -> None:
        pod = change.after
        if labels.SESSION not in (pod or change.before or Pod()).metadata.labels:
            return
        if pod is None:
            self._watched.pop(change.key, None)
            return
        watched = self._watched.get(change.key)
        if watched is None or watched.uid != pod.metadata.uid:
            watched = self._watched[change.key] = _Watched(pod.metadata.uid, self._clock())
        if watched.running_since is None and session_end.is_running(pod):
            watched.running_since = self._clock()

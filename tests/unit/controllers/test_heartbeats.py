"""When were sessions last heard of? By what the operator sees change, never by what another machine's clock says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.api import reasons
from gastown.api.core import Lease, Pod
from gastown.controllers.heartbeats import Heartbeats
from gastown.controllers.stores import make_stores
from gastown.decide import witness
from gastown.decide.witness import Heartbeat, Patience, Verdict
from support import build

KEY = ("town", "greeter-nux")
UID = "pod-greeter-nux-1"
PATIENCE = Patience()


@dataclasses.dataclass
class Pulse:
    """Signs of life of the feed of Leases."""

    last_heard: float = 0.0
    last_failed: float = 0.0


@dataclasses.dataclass
class Feed:
    """A feed as far as heartbeats look at it."""

    name: str = "leases/town"
    pulse: Any = dataclasses.field(default_factory=Pulse)

    async def run(self) -> None:
        raise NotImplementedError


class Watch:
    """One agent's session as the stores show it, and a clock that is told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.feed = Feed()
        self.stores = make_stores()
        self.beats = 0
        self.heartbeats = Heartbeats(self.stores, [self.feed], lambda: self.now)
        self.pod = self.take_pod(build.session_pod())
        self.lease = self.take_lease(build.lease())

    def restart(self) -> None:
        """A new operator lists what is there."""
        self.stores = make_stores()
        self.heartbeats = Heartbeats(self.stores, [self.feed], lambda: self.now)
        self.stores.pods.replace([self.pod], "999999")
        self.stores.leases.replace([self.lease], "999999")

    def take_pod(self, pod: Pod) -> Pod:
        self.stores.pods.put(pod)
        self.pod = pod
        return pod

    def take_lease(self, lease: Lease) -> Lease:
        """A version of the Lease comes by the watch."""
        self.feed.pulse.last_heard = self.now
        newer = dataclasses.replace(lease, metadata=build.metadata("greeter-nux", annotations=lease.metadata.annotations))
        self.stores.leases.put(newer)
        self.lease = newer
        return newer

    def renew(self, uid: str = UID, time: str = "") -> None:
        self.beats += 1
        spec = dataclasses.replace(self.lease.spec, holderIdentity=uid, renewTime=time or f"beat {self.beats}")
        self.take_lease(dataclasses.replace(self.lease, spec=spec))

    def annotate(self, **annotations: str) -> None:
        told = {**self.lease.metadata.annotations, **{f"gastown.dev/{name}": text for name, text in annotations.items()}}
        self.take_lease(dataclasses.replace(self.lease, metadata=build.metadata("greeter-nux", annotations=told)))

    def nudge(self) -> None:
        self.annotate(nudge=f"{UID} {reasons.HEARTBEAT_MISSED} {self.now} words")

    def seen(self) -> Heartbeat:
        return self.heartbeats.of(KEY, self.pod)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_silence_begins_when_the_session_was_seen_to_run(watch: Watch) -> None:
    watch.now += 50
    assert watch.seen().silent == 50.0


def test_a_session_is_not_called_silent_for_the_time_in_which_its_pod_was_starting(watch: Watch) -> None:
    watch.take_pod(build.session_pod(number=2, phase="Pending"))
    watch.now += 300
    watch.take_pod(build.session_pod(number=2, meta={"uid": watch.pod.metadata.uid}))
    watch.now += 5
    assert (watch.seen().age, watch.seen().silent) == (305.0, 5.0)


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "soon"])
def test_a_renewal_counts_whatever_the_clock_of_the_session_says(watch: Watch, time: str) -> None:
    watch.now += 80
    watch.renew(time=time)
    watch.now += 3
    assert watch.seen().silent == 3.0


def test_an_unchanged_lease_that_is_shown_again_is_no_renewal(watch: Watch) -> None:
    watch.renew()
    watch.now += 80
    watch.take_lease(watch.lease)
    assert watch.seen().silent == 80.0


def test_a_renewal_by_an_earlier_session_is_none_of_this_one(watch: Watch) -> None:
    watch.renew()
    watch.now += 80
    watch.renew(uid="pod-greeter-nux-0")
    assert watch.seen().silent == 80.0


def test_a_new_operator_has_its_whole_patience(watch: Watch) -> None:
    watch.now += 500
    watch.nudge()
    watch.now += 500
    watch.restart()
    assert (watch.seen().silent, watch.seen().is_told_silent, watch.seen().nudged) == (0.0, False, None)


def test_while_the_server_was_away_nobody_was_silent(watch: Watch) -> None:
    watch.now += 300
    watch.feed.pulse.last_failed = watch.now - 1
    assert watch.seen().silent == 1.0


def test_a_nudge_counts_from_its_return_by_the_watch(watch: Watch) -> None:
    watch.now += 100
    watch.nudge()
    watch.now += 7
    assert (watch.seen().is_told_silent, watch.seen().nudged) == (True, 7.0)
    watch.feed.pulse.last_heard = 0.0  # as if the nudge were known from the answer to our write only
    assert (watch.seen().is_told_silent, watch.seen().nudged) == (True, None)


def test_a_nudge_from_before_the_last_heartbeat_is_an_old_one(watch: Watch) -> None:
    watch.now += 100
    watch.nudge()
    watch.now += 1
    watch.renew()
    watch.now += 100
    assert (watch.seen().is_told_silent, watch.seen().nudged) == (False, None)


def test_stillness_is_known_only_of_sessions_that_tell_their_progress(watch: Watch) -> None:
    watch.renew()
    watch.now += 10
    assert watch.seen().still is None
    watch.annotate(progress="1 byte")
    watch.now += 10
    watch.renew()
    watch.now += 10
    assert (watch.seen().still, watch.seen().silent) == (20.0, 10.0)


MOVES = st.lists(
    st.tuples(st.sampled_from(["wait", "renew", "strange clock", "restart", "server away", "look"]), st.floats(0.1, 80.0)), max_size=60
)


@given(moves=MOVES)
def test_no_session_that_renews_within_its_patience_is_ever_replaced_or_suspected(moves: list[tuple[str, float]]) -> None:
    watch, since = Watch(), 0.0
    for move, seconds in moves:
        if since + seconds >= PATIENCE.silent:
            watch.renew()
            since = 0.0
        happen(watch, move, seconds)
        since = seconds if move in ("renew", "strange clock") else since + seconds
        assert judge(watch).reason == ""


@given(moves=MOVES)
def test_whoever_falls_silent_is_nudged_and_replaced_in_bounded_time_whatever_was_before(moves: list[tuple[str, float]]) -> None:
    watch = Watch()
    for move, seconds in moves:
        happen(watch, move, seconds)
    silent_from, nudged = watch.now, 0
    while not (verdict := judge(watch)).is_lost:
        if verdict.is_nudge_due:
            watch.nudge()
            nudged += 1
        assert verdict.look_after is not None
        watch.now += verdict.look_after
        assert watch.now - silent_from <= PATIENCE.silent + PATIENCE.answer + 10.0
    assert nudged <= 1
    assert watch.seen().is_told_silent


def happen(watch: Watch, move: str, seconds: float) -> None:
    """One thing happens, and time passes."""
    if move == "renew":
        watch.renew()
    elif move == "strange clock":
        watch.renew(time=f"{seconds} years ago, {watch.beats}")
    elif move == "restart":
        watch.restart()
    elif move == "server away":
        watch.feed.pulse.last_failed = watch.now
    elif move == "look" and judge(watch).is_nudge_due:
        watch.nudge()
    watch.now += seconds


def judge(watch: Watch) -> Verdict:
    return witness.judge(build.agent(), watch.pod, watch.seen(), PATIENCE)

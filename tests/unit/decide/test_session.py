"""Which pod should this agent have, and what is it doing?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.actions import Action, Create, Delete, SetStatus, Wake
from gastown.api.agent import Agent, AgentSession, AgentStatus
from gastown.api.bead import BeadTimes
from gastown.decide import session
from gastown.decide.session_pod import SessionSettings
from gastown.decide.session_seen import SessionSeen
from gastown.decide.times import time_text
from gastown.decide.witness import Heartbeat
from support import build
from support.build import NOON, NOON_TEXT

SETTINGS = SessionSettings(repository_url="http://repo:8080", image="gastown/session:1")
ENDED = {"outcome": "Submitted", "reason": "GatesGreen", "usage": {"inputTokens": 5}}
SESSION = AgentSession(uid="pod-greeter-nux-1", beadName="gp-1", number=1, startTime=NOON_TEXT)


def seen(agent: Agent | None = None, **fields: Any) -> SessionSeen:
    """The agent in its rig, with a bead on its hook."""
    given: dict[str, Any] = {
        "beads": (build.held_bead(),),
        "rig": build.rig(),
        "town": build.town(),
        "profiles": {"apprentice": build.profile()},
        "heartbeat": Heartbeat(lease=build.lease()),
        **fields,
    }
    if given.get("pod") is not None:
        given.setdefault("pod_bead", next(iter(given["beads"]), None))
    return SessionSeen(agent or build.agent(), SETTINGS, **given)


def pod_of(actions: list[Action]) -> dict[str, Any] | None:
    """The pod to be created, or None."""
    found = [action.object for action in actions if isinstance(action, Create) and isinstance(action.object, dict)]
    return next((dict(made) for made in found if made["kind"] == "Pod"), None)


def deleted(actions: list[Action]) -> list[tuple[str, int | None]]:
    return [(action.name, action.grace_seconds) for action in actions if isinstance(action, Delete)]


def status_of(actions: list[Action]) -> AgentStatus:
    (status,) = [action.status for action in actions if isinstance(action, SetStatus)]
    assert isinstance(status, AgentStatus)
    return status


def test_a_bead_on_the_hook_gets_a_session_at_once() -> None:
    pod = pod_of(session.decide(seen(), NOON))
    assert pod is not None
    assert pod["metadata"]["name"] == "greeter-nux"
    assert pod["metadata"]["labels"]["gastown.dev/bead"] == "gp-1"
    assert pod["metadata"]["labels"]["gastown.dev/session"] == "1"


def test_no_work_no_pod() -> None:
    actions = session.decide(seen(beads=()), NOON)
    assert pod_of(actions) is None
    assert status_of(actions).phase == "Idle"


def test_a_new_agent_gets_its_identity_before_its_first_pod() -> None:
    made = session.decide(seen(build.agent(phase="", status={"conditions": []})), NOON)
    kinds = [action.object["kind"] for action in made if isinstance(action, Create) and isinstance(action.object, dict)]
    assert kinds == ["ServiceAccount", "Lease", "Pod"]


def test_an_agent_just_made_for_a_binding_waits_for_it() -> None:
    made = session.decide(seen(build.agent(phase="", status={"conditions": []}), beads=()), NOON + 1)
    assert [type(action) for action in made] == [Wake]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"agent": build.agent(suspend=True)}, id="agent is suspended"),
        pytest.param({"agent": build.agent(retired=True)}, id="agent is retired"),
        pytest.param({"town": build.town(stopped=True)}, id="emergency stop"),
        pytest.param({"rig": None}, id="rig is gone"),
        pytest.param({"profiles": {}}, id="profile does not exist"),
        pytest.param({"profiles": {"apprentice": build.profile(accepted=False)}}, id="profile is not accepted"),
        pytest.param({"beads": (build.held_bead(phase="Submitted"),)}, id="bead is submitted"),
        pytest.param({"beads": (build.held_bead(phase="Failed"),)}, id="bead was given up"),
        pytest.param({"beads": (build.held_bead(state="deferred"),)}, id="bead is deferred"),
        pytest.param({"beads": (build.held_bead(state="closed"),)}, id="bead is closed"),
        pytest.param(
            {"agent": build.agent(session=dataclasses.replace(SESSION, lastEndTime=NOON_TEXT, nextStartTime="2025-06-15T15:06:45Z"))},
            id="back-off",
        ),
        pytest.param(
            {"agent": build.agent(session=dataclasses.replace(SESSION, lastOutcome="Lost", lastEndTime=NOON_TEXT))},
            id="bead has not recorded the lost session",
        ),
    ],
)
def test_no_session_starts(fields: dict[str, Any]) -> None:
    assert pod_of(session.decide(seen(**fields), NOON)) is None


def test_a_back_off_ends_by_the_clock() -> None:
    agent = build.agent(session=dataclasses.replace(SESSION, lastEndTime=NOON_TEXT, nextStartTime="2025-06-15T15:06:45Z"))
    assert Wake(5.0, reason="BackOff") in session.decide(seen(agent), NOON)
    assert pod_of(session.decide(seen(agent), NOON + 5)) is not None


def test_an_agent_of_several_beads_works_on_the_oldest_binding() -> None:
    old, new = build.held_bead("gp-9", since="2025-06-15T14:00:00Z"), build.held_bead("gp-1")
    fresh = build.bead("gp-0", assignee="greeter-nux", phase="Ready", status={"times": BeadTimes(hookedTime="2025-06-01T00:00:00Z")})
    assert session.chosen_bead((new, fresh, old)) == old
    assert session.chosen_bead((fresh,)) == fresh


@pytest.mark.parametrize(
    "agent",
    [
        pytest.param(build.agent(role="crew"), id="of a person's crew"),
        pytest.param(build.agent(role="mayor", rigName=""), id="of the town"),
        pytest.param(build.agent(meta={"deletionTimestamp": NOON_TEXT}), id="being deleted"),
    ],
)
def test_who_is_no_polecat_is_left_alone(agent: Agent) -> None:
    assert session.decide(seen(agent, pod=build.session_pod()), NOON + 60) == []


def test_an_agent_that_nobody_binds_is_told_as_idle_after_a_moment() -> None:
    made = session.decide(seen(build.agent(phase="", status={"conditions": []}), beads=()), NOON + 2)
    assert status_of(made).phase == "Idle"


def test_the_next_session_is_counted_on() -> None:
    agent = build.agent(session=dataclasses.replace(SESSION, number=41, lastOutcome="Handoff", lastEndTime=NOON_TEXT))
    pod = pod_of(session.decide(seen(agent), NOON))
    assert pod is not None
    assert pod["metadata"]["labels"]["gastown.dev/session"] == "42"


@pytest.mark.parametrize(
    ("recorded", "starts"), [pytest.param("", False, id="not recorded yet"), pytest.param(SESSION.uid, True, id="recorded")]
)
def test_after_a_lost_session_the_next_one_waits_for_the_bead_to_count_it(recorded: str, starts: bool) -> None:
    agent = build.agent(session=dataclasses.replace(SESSION, lastOutcome="Lost", lastEndTime=NOON_TEXT))
    bead = build.held_bead(status={"sessionUid": recorded})
    assert (pod_of(session.decide(seen(agent, beads=(bead,)), NOON)) is not None) == starts
    other = build.held_bead("gp-2")
    assert pod_of(session.decide(seen(agent, beads=(other,)), NOON)) is not None


@pytest.mark.parametrize(
    ("bead", "agent", "expected"),
    [
        pytest.param(build.held_bead(profileName="expert"), build.agent(profileName="plain"), "./expert", id="the bead's"),
        pytest.param(build.held_bead(), build.agent(profileName="plain"), "./plain", id="else the agent's"),
        pytest.param(build.held_bead(), build.agent(), "./rig", id="else the rig's"),
    ],
)
def test_a_session_runs_with_the_profile_that_was_asked_for(bead: Any, agent: Agent, expected: str) -> None:
    profiles = {name: build.profile(name, command=[f"./{name}"]) for name in ("expert", "plain", "rig")}
    pod = pod_of(session.decide(seen(agent, beads=(bead,), rig=build.rig(profileName="rig"), profiles=profiles), NOON))
    assert pod is not None
    (command,) = [item["value"] for item in pod["spec"]["containers"][0]["env"] if item["name"] == "GASTOWN_AGENT_COMMAND"]
    assert command == f'["{expected}"]'


class TestStatus:
    def test_an_end_that_was_told_is_not_counted_again(self) -> None:
        ended = dataclasses.replace(SESSION, lastOutcome="Failed", lastEndTime=NOON_TEXT)
        bead = build.held_bead(status={"sessionUid": SESSION.uid})
        agent = build.agent(session=ended, status={"attempts": 1})
        assert status_of(session.decide(seen(agent, beads=(bead,), pod=build.session_pod(exit_code=1)), NOON + 99)).attempts == 1

    def test_the_session_after_one_that_was_told_is_counted_by_itself(self) -> None:
        told = dataclasses.replace(SESSION, lastOutcome="Failed", lastEndTime=NOON_TEXT)
        pod = build.session_pod(number=2, exit_code=1)
        bead = build.held_bead(status={"sessionUid": pod.metadata.uid})
        status = status_of(session.decide(seen(build.agent(session=told, status={"attempts": 1}), beads=(bead,), pod=pod), NOON))
        assert (status.attempts, status.session.uid, status.session.number) == (2, "pod-greeter-nux-2", 2)

    @pytest.mark.parametrize(
        "bead",
        [
            pytest.param(None, id="the bead was deleted"),
            pytest.param(build.held_bead(agent_name="greeter-max"), id="another holds the bead now"),
            pytest.param(build.bead(status={"agentName": "greeter-max"}), id="another held the bead last"),
        ],
    )
    def test_a_finished_session_that_no_bead_will_record_is_told_and_deleted(self, bead: Any) -> None:
        pod = build.session_pod(exit_code=0, message=ENDED)
        actions = session.decide(seen(build.agent(phase="Working", session=SESSION), beads=(), pod=pod, pod_bead=bead), NOON + 61)
        assert (status_of(actions).phase, deleted(actions)) == ("Idle", [("greeter-nux", None)])

    def test_a_finished_session_waits_for_the_bead_that_was_just_taken_from_the_agent(self) -> None:
        what = seen(
            build.agent(session=SESSION),
            beads=(),
            pod=build.session_pod(exit_code=0, message=ENDED),
            pod_bead=build.bead(status={"agentName": "greeter-nux"}),
        )
        assert session.decide(what, NOON + 61) == []

    def test_a_session_that_takes_its_time_to_start_is_told_with_its_pod(self) -> None:
        status = status_of(session.decide(seen(pod=build.session_pod(phase="Pending")), NOON + 3))
        assert (status.phase, status.beadName, status.session) == ("Starting", "gp-1", SESSION)

    def test_a_session_that_starts_quickly_is_told_once_and_as_soon_as_it_runs(self) -> None:
        starting = seen(pod=build.session_pod(phase="Pending"))
        actions = session.decide(starting, NOON + 2)
        assert status_of(actions) == starting.agent.status
        assert min(action.after_seconds for action in actions if isinstance(action, Wake)) <= 3
        status = status_of(session.decide(dataclasses.replace(starting, pod=build.session_pod()), NOON + 2))
        assert (status.phase, status.beadName, status.session) == ("Working", "gp-1", SESSION)

    @pytest.mark.parametrize(
        ("pod", "phase"),
        [
            pytest.param(build.session_pod(phase="Pending", deleted=NOON_TEXT), "Stopping", id="it is being deleted"),
            pytest.param(build.session_pod(phase="Pending", number=2), "Starting", id="the one before was told to run"),
        ],
    )
    def test_whatever_makes_the_told_status_untrue_is_told_at_once(self, pod: Any, phase: str) -> None:
        agent = build.agent(phase="Working", session=SESSION) if phase == "Starting" else None
        assert status_of(session.decide(seen(agent, pod=pod), NOON + 1)).phase == phase

    def test_a_finished_session_waits_until_its_bead_has_recorded_it(self) -> None:
        pod = build.session_pod(exit_code=0, message=ENDED)
        assert session.decide(seen(build.agent(session=SESSION), pod=pod), NOON + 61) == []

    def test_a_recorded_session_is_told_and_its_pod_deleted_in_one_decision(self) -> None:
        pod = build.session_pod(exit_code=0, message=ENDED)
        bead = build.held_bead(phase="Submitted", status={"sessionUid": pod.metadata.uid})
        actions = session.decide(seen(build.agent(phase="Working", session=SESSION), beads=(bead,), pod=pod), NOON + 61)
        status = status_of(actions)
        assert (status.phase, status.beadName, status.session.lastOutcome, status.usage.inputTokens) == ("Idle", "", "Submitted", 5)
        assert deleted(actions) == [("greeter-nux", None)]

    @pytest.mark.parametrize(
        ("attempts", "seconds"), [pytest.param(0, 5, id="first"), pytest.param(2, 20, id="third"), pytest.param(30, 300, id="thirty-first")]
    )
    def test_failures_are_followed_by_a_doubling_back_off(self, attempts: int, seconds: int) -> None:
        pod = build.session_pod(exit_code=1, message={"outcome": "Failed"})
        bead = build.held_bead(status={"sessionUid": pod.metadata.uid})
        agent = build.agent(session=SESSION, status={"attempts": attempts})
        status = status_of(session.decide(seen(agent, beads=(bead,), pod=pod), NOON))
        assert (status.attempts, status.cv.failedSessions) == (attempts + 1, 1)
        assert status.session.nextStartTime == time_text(NOON + seconds)

    @pytest.mark.parametrize(
        ("phase", "outcome", "attempts"),
        [pytest.param("Working", "Lost", 1, id="without warning"), pytest.param("Stopping", "Handoff", 0, id="while it was being stopped")],
    )
    def test_a_pod_that_is_gone_is_a_lost_session_unless_it_was_stopped(self, phase: str, outcome: str, attempts: int) -> None:
        actions = session.decide(seen(build.agent(phase=phase, session=SESSION)), NOON)
        status = status_of(actions)
        assert (status.session.lastOutcome, status.attempts) == (outcome, attempts)
        assert (pod_of(actions) is None) == (outcome == "Lost")

    def test_a_landing_reaches_the_record_with_the_next_change_or_after_a_while(self) -> None:
        landed = build.bead("gp-9", landed=True, status={"times": BeadTimes(closedTime=NOON_TEXT)})
        told = status_of(session.decide(seen(beads=()), NOON))
        what = seen(
            build.agent(status={"displayName": told.displayName, "conditions": told.conditions, "observedGeneration": 1}),
            beads=(),
            worked=(landed,),
        )
        assert status_of(session.decide(what, NOON + 5)) == what.agent.status
        assert status_of(session.decide(what, NOON + 31)).cv.landed == 1
        started = dataclasses.replace(what, beads=(build.held_bead(),), pod=build.session_pod(), pod_bead=build.held_bead())
        assert status_of(session.decide(started, NOON + 5)).cv.landed == 1

    def test_looking_again_decides_the_same(self) -> None:
        what = seen(pod=build.session_pod(phase="Pending"))
        status = status_of(session.decide(what, NOON + 3))
        again = dataclasses.replace(what, agent=dataclasses.replace(what.agent, status=status))
        assert status_of(session.decide(again, NOON + 9)) == status


class TestStopping:
    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param({"town": build.town(stopped=True)}, id="emergency stop"),
            pytest.param({"agent": build.agent(suspend=True, session=SESSION)}, id="agent is suspended"),
            pytest.param({"agent": build.agent(retired=True, session=SESSION)}, id="agent is retired"),
            pytest.param({"beads": (), "pod_bead": build.bead()}, id="bead was taken from it"),
            pytest.param({"beads": (), "pod_bead": None}, id="bead was deleted"),
            pytest.param({"beads": (build.held_bead(state="pinned"),)}, id="bead was pinned"),
        ],
    )
    def test_a_session_is_stopped_with_grace(self, fields: dict[str, Any]) -> None:
        actions = session.decide(seen(pod=build.session_pod(), **fields), NOON + 5)
        assert deleted(actions) == [("greeter-nux", 60)]
        assert status_of(actions).phase == "Stopping"

    @pytest.mark.parametrize(
        "bead",
        [
            pytest.param(build.held_bead(phase="Submitted", status={"times": BeadTimes(submittedTime=NOON_TEXT)}), id="bead is submitted"),
            pytest.param(
                build.held_bead(state="closed", phase="Closed", status={"times": BeadTimes(closedTime=NOON_TEXT)}), id="bead is closed"
            ),
        ],
    )
    def test_a_session_whose_bead_is_done_may_end_by_itself_for_a_while(self, bead: Any) -> None:
        what = seen(build.agent(phase="Working", session=SESSION), beads=(bead,), pod=build.session_pod())
        assert deleted(session.decide(what, NOON + 30)) == []
        assert deleted(session.decide(what, NOON + 90)) == [("greeter-nux", 60)]

    def test_a_session_whose_bead_closed_before_its_binding_was_recorded_may_end_by_itself(self) -> None:
        closed = build.bead(state="closed", phase="Ready")
        what = seen(build.agent(phase="Working", session=SESSION), beads=(), pod_bead=closed, pod=build.session_pod())
        assert deleted(session.decide(what, NOON + 5)) == []

    def test_a_pod_that_waits_for_a_node_is_stopped_with_the_same_grace(self) -> None:
        assert deleted(session.decide(seen(pod=build.session_pod(phase="Pending"), town=build.town(stopped=True)), NOON)) == [
            ("greeter-nux", 60)
        ]

    def test_an_agent_that_was_given_another_bead_stops_the_old_session_first(self) -> None:
        what = seen(beads=(build.held_bead("gp-2"),), pod=build.session_pod(), pod_bead=build.bead())
        actions = session.decide(what, NOON + 5)
        assert (deleted(actions), pod_of(actions)) == ([("greeter-nux", 60)], None)
        assert status_of(actions).beadName == "gp-1"

    @given(
        bead=st.sampled_from([None, build.bead(), build.held_bead(), build.held_bead(phase="Submitted"), build.held_bead(state="closed")]),
        pod=st.builds(
            build.session_pod,
            phase=st.sampled_from(["Pending", "Running", "Unknown", "Failed"]),
            exit_code=st.sampled_from([None, 0, 1]),
            deleted=st.sampled_from(["", NOON_TEXT]),
        ),
        agent=st.builds(build.agent, suspend=st.booleans(), retired=st.booleans(), phase=st.sampled_from(["", "Idle", "Working"])),
        is_stopped=st.booleans(),
        age=st.sampled_from([0, 30, 100, 10_000]),
    )
    def test_a_pod_is_never_deleted_by_force_nor_beside_a_new_one(
        self, bead: Any, pod: Any, agent: Agent, is_stopped: bool, age: int
    ) -> None:
        beads = (bead,) if bead is not None and bead.spec.assignee else ()
        actions = session.decide(seen(agent, beads=beads, pod=pod, pod_bead=bead, town=build.town(stopped=is_stopped)), NOON + age)
        assert pod_of(actions) is None
        assert all(grace is None or grace > 0 for _, grace in deleted(actions))
        assert all(action.uid == pod.metadata.uid for action in actions if isinstance(action, Delete))

    def test_a_pod_that_is_being_deleted_is_not_deleted_again(self) -> None:
        actions = session.decide(seen(pod=build.session_pod(deleted=NOON_TEXT), town=build.town(stopped=True)), NOON)
        assert deleted(actions) == []
        assert status_of(actions).phase == "Stopping"

"""Alive, silent, hung, or never started: what the Witness thinks of a session, and what follows from it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.actions import Action, Create, Delete, Emit, PatchSpec, SetStatus, Wake
from gastown.api import conditions, labels, reasons
from gastown.api.agent import Agent, AgentSession, AgentStatus
from gastown.api.core import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
)
from gastown.api.meta import Condition
from gastown.decide import session, session_status, witness
from gastown.decide.session_pod import SessionSettings
from gastown.decide.session_seen import SessionSeen
from gastown.decide.witness import Heartbeat, Patience, Verdict
from support import build
from support.build import NOON, NOON_TEXT

PATIENCE = Patience()
SESSION = AgentSession(uid="pod-greeter-nux-1", beadName="gp-1", number=1, startTime=NOON_TEXT)
HEAD = "b" * 40


def agent_of(reason: str = "", message: str = "told before", type_: str = conditions.SUSPECT) -> Agent:
    """An agent whose first session works; `reason`: what the Witness said of it before."""
    told = [build.condition(conditions.READY)] + ([build.condition(type_, reason=reason, message=message)] if reason else [])
    return build.agent(
        phase="Working", session=SESSION, status={"conditions": told, "beadName": "gp-1", "displayName": "greeter/polecats/nux"}
    )


def beat(**fields: Any) -> Heartbeat:
    """A heartbeat that came just now, but for what is given."""
    return Heartbeat(**{"lease": build.lease(holder=SESSION.uid), "age": 600.0, **fields})


def waiting(container: str = "checkout", reason: str = "ImagePullBackOff", message: str = "no such image") -> Pod:
    """A pod on a node that can not start a container."""
    state = ContainerStatus(name=container, state=ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message)))
    pod = build.session_pod(phase="Pending")
    return dataclasses.replace(pod, spec=PodSpec(nodeName="laptop"), status=PodStatus(phase="Pending", initContainerStatuses=[state]))


def unscheduled(message: str = "0/1 nodes are available") -> Pod:
    """A pod that no node takes."""
    told = [PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message=message)]
    return dataclasses.replace(build.session_pod(phase="Pending"), status=PodStatus(phase="Pending", conditions=told))


def decided(pod: Pod, heartbeat: Heartbeat, agent: Agent | None = None, now: float = NOON + 600) -> list[Action]:
    """What is done about the session of an agent that works on gp-1."""
    bead = build.held_bead(phase="Working")
    seen = SessionSeen(
        agent or agent_of(),
        SessionSettings("http://repo:8080", "image", PATIENCE),
        beads=(bead,),
        pod=pod,
        pod_bead=bead,
        rig=build.rig(),
        town=build.town(),
        profiles={"apprentice": build.profile()},
        heartbeat=heartbeat,
    )
    return session.decide(seen, now)


def condition_of(actions: list[Action], type_: str) -> Condition | None:
    (status,) = [action.status for action in actions if isinstance(action, SetStatus)]
    assert isinstance(status, AgentStatus)
    return conditions.find_condition(status.conditions, type_)


def nudges(actions: list[Action]) -> list[str]:
    return [action.annotations[labels.NUDGE] or "" for action in actions if isinstance(action, PatchSpec)]


def deleted(actions: list[Action]) -> list[int | None]:
    return [action.grace_seconds for action in actions if isinstance(action, Delete)]


class TestSilence:
    def test_a_session_that_beats_is_looked_at_again_when_its_heartbeat_would_be_overdue(self) -> None:
        assert witness.judge(agent_of(), build.session_pod(), beat(silent=30.0), PATIENCE) == Verdict(look_after=60.0)

    def test_after_three_missed_heartbeats_it_is_suspected_nudged_and_told(self) -> None:
        actions = decided(build.session_pod(), beat(silent=90.0))
        suspect = condition_of(actions, conditions.SUSPECT)
        assert suspect is not None
        assert (suspect.status, suspect.reason) == ("True", reasons.HEARTBEAT_MISSED)
        (nudge,) = nudges(actions)
        assert witness.nudge_reason(nudge, SESSION.uid) == reasons.HEARTBEAT_MISSED
        assert [action.reason for action in actions if isinstance(action, Emit)] == [reasons.HEARTBEAT_MISSED]
        assert deleted(actions) == []

    def test_it_is_nudged_once(self) -> None:
        actions = decided(build.session_pod(), beat(silent=95.0, is_told_silent=True), agent_of(reasons.HEARTBEAT_MISSED))
        assert (nudges(actions), deleted(actions)) == ([], [])
        assert any(isinstance(action, Wake) for action in actions)

    def test_one_that_does_not_answer_is_recorded_as_replaced_before_its_pod_is_deleted_with_grace(self) -> None:
        actions = decided(build.session_pod(), beat(silent=150.0, is_told_silent=True, nudged=60.0), agent_of(reasons.HEARTBEAT_MISSED))
        suspect = condition_of(actions, conditions.SUSPECT)
        assert suspect is not None
        assert suspect.reason == reasons.REPLACED
        kinds = [type(action) for action in actions if isinstance(action, SetStatus | Delete)]
        assert (kinds, deleted(actions)) == ([SetStatus, Delete], [30])

    def test_one_whose_answer_might_not_be_heard_is_not_replaced(self) -> None:
        actions = decided(build.session_pod(), beat(silent=900.0, is_told_silent=True, nudged=None), agent_of(reasons.HEARTBEAT_MISSED))
        assert deleted(actions) == []

    def test_one_that_is_heard_again_is_suspected_no_more(self) -> None:
        actions = decided(build.session_pod(), beat(silent=1.0, is_told_silent=False), agent_of(reasons.HEARTBEAT_MISSED))
        assert condition_of(actions, conditions.SUSPECT) is None
        assert deleted(actions) == []

    def test_a_late_heartbeat_does_not_bring_back_one_that_was_recorded_as_replaced(self) -> None:
        assert deleted(decided(build.session_pod(), beat(silent=0.0), agent_of(reasons.REPLACED))) == [30]

    def test_what_was_said_of_an_earlier_session_does_not_count(self) -> None:
        later = build.session_pod(number=2)
        assert witness.judge(agent_of(reasons.REPLACED), later, beat(silent=1.0), PATIENCE).reason == ""

    @pytest.mark.parametrize(
        "pod",
        [
            pytest.param(build.session_pod(exit_code=0), id="its session is over"),
            pytest.param(build.session_pod(deleted=NOON_TEXT), id="it is being deleted anyway"),
        ],
    )
    def test_nothing_is_thought_of_a_pod_that_ends(self, pod: Pod) -> None:
        assert witness.judge(agent_of(), pod, beat(silent=1e6, nudged=1e6, is_told_silent=True), PATIENCE) == witness.WELL

    def test_a_lease_that_somebody_deleted_is_made_again_before_anybody_is_nudged(self) -> None:
        actions = decided(build.session_pod(), Heartbeat(lease=None, age=600.0, silent=90.0))
        made = [action.object["kind"] for action in actions if isinstance(action, Create) and isinstance(action.object, dict)]
        assert (made, nudges(actions)) == (["ServiceAccount", "Lease"], [])


class TestStillness:
    def test_an_agent_without_any_sign_of_work_is_told_as_stalled_and_nudged_but_not_replaced(self) -> None:
        actions = decided(build.session_pod(), beat(still=900.0))
        stalled = condition_of(actions, conditions.STALLED)
        assert stalled is not None
        assert stalled.reason == reasons.NO_PROGRESS
        assert [witness.nudge_reason(nudge, SESSION.uid) for nudge in nudges(actions)] == [reasons.NO_PROGRESS]
        assert condition_of(actions, conditions.SUSPECT) is None
        assert deleted(decided(build.session_pod(), beat(still=1e6, is_told_still=True))) == []

    def test_it_is_no_more_when_it_moves_again(self) -> None:
        actions = decided(build.session_pod(), beat(still=3.0), agent_of(reasons.NO_PROGRESS, type_=conditions.STALLED))
        assert condition_of(actions, conditions.STALLED) is None

    @pytest.mark.parametrize(
        ("patience", "still"),
        [pytest.param(Patience(still=0), 1e6, id="switched off"), pytest.param(PATIENCE, None, id="a session that tells nothing")],
    )
    def test_nobody_is_stalled(self, patience: Patience, still: float | None) -> None:
        assert witness.judge(agent_of(), build.session_pod(), beat(still=still), patience).reason == ""


class TestStarting:
    @pytest.mark.parametrize(
        ("pod", "words"),
        [
            pytest.param(waiting(), "container checkout: ImagePullBackOff: no such image", id="image missing"),
            pytest.param(
                waiting("agent", "CreateContainerConfigError", 'secret "key" not found'),
                'container agent: CreateContainerConfigError: secret "key" not found',
                id="secret missing",
            ),
            pytest.param(unscheduled(), "Unschedulable: 0/1 nodes are available", id="no node has room"),
        ],
    )
    def test_a_pod_that_does_not_start_is_explained_and_in_the_end_replaced(self, pod: Pod, words: str) -> None:
        early = witness.judge(agent_of(), pod, beat(age=3.0), PATIENCE)
        assert (early.reason, early.look_after) == ("", 7.0)
        told = witness.judge(agent_of(), pod, beat(age=20.0), PATIENCE)
        assert (told.reason, told.message, told.look_after) == (reasons.NOT_STARTING, f"{words}; its pod is replaced after 600 s", 580.0)
        last = witness.judge(agent_of(reasons.NOT_STARTING), pod, beat(age=600.0), PATIENCE)
        assert (last.is_lost, words in last.message) == (True, True)

    def test_the_changing_words_of_the_scheduler_are_not_written_again_and_again(self) -> None:
        told = witness.judge(agent_of(reasons.NOT_STARTING, "first words"), unscheduled("0/7 nodes"), beat(age=99.0), PATIENCE)
        assert told.message == "first words"

    def test_a_checkout_that_takes_its_time_is_not_doubted(self) -> None:
        state = ContainerStatus(name="checkout", state=ContainerState(running=ContainerStateRunning(startedAt=NOON_TEXT)))
        pod = dataclasses.replace(
            build.session_pod(phase="Pending"),
            spec=PodSpec(nodeName="laptop"),
            status=PodStatus(phase="Pending", initContainerStatuses=[state]),
        )
        assert witness.judge(agent_of(), pod, beat(age=290.0), PATIENCE).reason == ""
        assert "container checkout does not end" in witness.judge(agent_of(), pod, beat(age=600.0), PATIENCE).message

    def test_a_node_that_only_says_it_is_creating_the_container_explains_nothing(self) -> None:
        assert witness.why_not_started(waiting(reason="ContainerCreating", message="")) == ""


class TestEnds:
    def test_a_replaced_session_whose_pod_vanished_was_lost_for_the_reason_told(self) -> None:
        seen = SessionSeen(agent_of(reasons.REPLACED, "no heartbeat"), SessionSettings("", ""), heartbeat=beat())
        end = session_status.unrecorded_end(seen, NOON)
        assert end is not None
        assert (end.outcome, end.message) == ("Lost", "no heartbeat")

    @pytest.mark.parametrize(
        ("outcome", "failures", "seconds"),
        [
            pytest.param("Lost", 1, 0, id="the first that is lost is replaced at once"),
            pytest.param("Lost", 2, 5, id="the second in a row waits"),
            pytest.param("Lost", 4, 20, id="and so on"),
            pytest.param("Failed", 1, 5, id="one that failed waits the first time already"),
            pytest.param("Failed", 99, 300, id="but never for ever"),
        ],
    )
    def test_back_off_begins_with_what_may_happen_again(self, outcome: str, failures: int, seconds: int) -> None:
        assert session_status.back_off_seconds(outcome, failures) == seconds

    @pytest.mark.parametrize(
        ("holder", "told", "expected"),
        [
            pytest.param(SESSION.uid, HEAD, HEAD, id="its own"),
            pytest.param("pod-greeter-nux-0", HEAD, "", id="of an earlier session"),
            pytest.param(SESSION.uid, "main", "", id="no commit"),
            pytest.param(SESSION.uid, f"{HEAD[:-1]}G", "", id="no hex"),
        ],
    )
    def test_a_checkpoint_on_the_lease_counts_for_the_session_that_told_it(self, holder: str, told: str, expected: str) -> None:
        assert witness.checkpoint(build.lease(holder=holder, **{labels.CHECKPOINT: told}), SESSION.uid) == expected

    def test_an_agent_whose_pod_should_be_gone_since_long_is_a_zombie(self) -> None:
        pod = dataclasses.replace(build.session_pod(deleted=NOON_TEXT), spec=PodSpec(nodeName="lost-1"))
        assert condition_of(decided(pod, beat(), now=NOON + 100), conditions.ZOMBIE) is None
        zombie = condition_of(decided(pod, beat(), now=NOON + 200), conditions.ZOMBIE)
        assert zombie is not None
        assert (zombie.reason, "kubectl delete node lost-1" in zombie.message) == (reasons.NODE_LOST, True)


PODS = [build.session_pod(), build.session_pod(phase="Pending"), waiting(), unscheduled(), build.session_pod(phase="Unknown")]


@given(
    pod=st.sampled_from(PODS),
    age=st.floats(0, 1e7),
    silent=st.floats(0, 1e7),
    nudged=st.none() | st.floats(0, 1e7),
    still=st.none() | st.floats(0, 1e7),
    told=st.booleans(),
    before=st.sampled_from(["", reasons.HEARTBEAT_MISSED, reasons.NOT_STARTING]),
)
def test_whoever_is_judged_is_replaced_only_with_cause_and_looked_at_again_otherwise(
    pod: Pod, age: float, silent: float, nudged: float | None, still: float | None, told: bool, before: str
) -> None:
    heartbeat = beat(age=age, silent=silent, nudged=nudged, still=still, is_told_silent=told, is_told_still=told)
    verdict = witness.judge(agent_of(before), pod, heartbeat, PATIENCE)
    if verdict.is_lost:
        silent_in_vain = silent >= PATIENCE.silent and nudged is not None and nudged >= PATIENCE.answer
        assert silent_in_vain if pod.status.phase == "Running" else age >= PATIENCE.start
    else:
        # Nobody is forgotten: the clock alone leads to the next look.
        assert verdict.look_after is not None
        assert 0 < verdict.look_after <= max(PATIENCE.silent, PATIENCE.start)

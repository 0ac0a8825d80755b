"""What became of this bead? Phases, counters, conditions, and what is changed in its spec."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gastown.actions import Emit, PatchSpec, SetStatus, Wake
from gastown.api import conditions
from gastown.api.agent import AgentSession
from gastown.api.agent_profile import SessionLimits
from gastown.api.bead import Bead, BeadStatus, BeadTimes, Dependency, Rework
from gastown.api.merge_request import GateResult, MergeConflict
from gastown.decide import bead as decider
from gastown.decide.bead import BeadSeen
from gastown.decide.bead_conditions import Waiting
from gastown.decide.dependencies import Neighbours
from gastown.decide.readiness import Readiness
from support import build
from support.build import COMMIT, HEAD, NOON, NOON_TEXT

SUBMITTED = {"outcome": "Submitted", "mergeRequest": f"gp-1-{HEAD[:12]}", "head": HEAD}
FAILED = {"outcome": "Failed", "reason": "AgentFailed", "checkpoint": "b" * 40}
# The pods of the builder end one minute after noon.
LATER = NOON + 61


def seen(bead: Bead, **fields: Any) -> BeadSeen:
    """The bead among what bears on it; a polecat that holds it exists unless `agent` says otherwise."""
    readiness = fields.pop("readiness", {})
    if bead.spec.assignee.startswith("greeter-"):
        fields.setdefault("agent", build.agent(bead.spec.assignee))
    return BeadSeen(readiness=Readiness(bead, **{"rig": build.rig(), **readiness}), **fields)


def status_of(what: BeadSeen, now: float = NOON) -> BeadStatus:
    """The status decided on; fails when the spec is to be changed first."""
    (action,) = [action for action in decider.decide(what, now) if isinstance(action, SetStatus | PatchSpec)]
    assert isinstance(action, SetStatus), action
    status: BeadStatus = action.status
    return status


def change_of(what: BeadSeen, now: float = NOON) -> dict[str, Any] | None:
    """The change of the spec decided on, or None."""
    (action,) = [action for action in decider.decide(what, now) if isinstance(action, SetStatus | PatchSpec)]
    return dict(action.spec) if isinstance(action, PatchSpec) else None


def reason_of(status: BeadStatus, type_: str) -> tuple[str, str]:
    found = conditions.find_condition(status.conditions, type_)
    assert found is not None
    return found.status, found.reason


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        pytest.param(seen(build.bead()), "Ready", id="nothing holds it back"),
        pytest.param(seen(build.bead(waits_for=["gp-2"])), "Blocked", id="waits for another"),
        pytest.param(seen(build.bead(state="pinned")), "Pinned", id="pinned"),
        pytest.param(seen(build.bead(state="deferred")), "Deferred", id="deferred"),
        pytest.param(seen(build.bead(type="message")), "Ready", id="never dispatched, yet not blocked"),
        pytest.param(seen(build.held_bead(), agent=build.agent()), "Hooked", id="bound, no pod yet"),
        pytest.param(seen(build.held_bead(), pod=build.session_pod(phase="Pending")), "Hooked", id="pod does not run yet"),
        pytest.param(seen(build.held_bead(), pod=build.session_pod()), "Working", id="pod runs"),
        pytest.param(seen(build.held_bead(), merge_requests=(build.merge_request(),)), "Submitted", id="its request is under way"),
        pytest.param(
            seen(build.bead(), merge_requests=(build.merge_request(verified="True"),)),
            "Submitted",
            id="verified request outlives the binding",
        ),
        pytest.param(
            seen(build.bead(assignee="greeter-max"), merge_requests=(build.merge_request(),)), "Hooked", id="request of a former holder"
        ),
        pytest.param(
            seen(build.held_bead(), merge_requests=(build.merge_request(phase="Superseded"),)), "Hooked", id="request was superseded"
        ),
        pytest.param(seen(build.bead(state="closed")), "Closed", id="closed by hand"),
        pytest.param(seen(build.bead(landed=True)), "Landed", id="landed"),
        pytest.param(
            seen(build.bead(state="closed"), merge_requests=(build.merge_request(phase="Landed"),)), "Landed", id="landing is news"
        ),
        pytest.param(seen(build.bead(status={"attempts": 3})), "Failed", id="attempts are used up"),
        pytest.param(seen(build.bead(status={"reworks": 4})), "Failed", id="reworks are used up"),
        pytest.param(seen(build.bead(status={"reworks": 3})), "Ready", id="the last rework is still to be done"),
        pytest.param(seen(build.bead(status={"attempts": 9}), limits=SessionLimits(attempts=0)), "Ready", id="limit 0 is no limit"),
    ],
)
def test_the_phase_is_the_first_row_of_the_table_that_holds(what: BeadSeen, expected: str) -> None:
    assert status_of(what).phase == expected


def test_a_fresh_bead_gets_its_conditions_in_one_write() -> None:
    status = status_of(seen(build.bead()))
    said = {condition.type: (condition.status, condition.reason) for condition in status.conditions}
    assert said == {
        "Ready": ("True", "Accepted"),
        "Startable": ("True", "Startable"),
        "Submitted": ("False", "NotSubmitted"),
        "Landed": ("False", "NotLanded"),
    }
    assert (status.observedGeneration, status.times.readyTime) == (1, NOON_TEXT)


def test_deciding_on_the_decided_status_changes_nothing() -> None:
    for what in (seen(build.bead()), seen(build.held_bead(), pod=build.session_pod()), seen(build.bead(waits_for=["gp-2"]))):
        status = status_of(what)
        again = dataclasses.replace(
            what, readiness=dataclasses.replace(what.readiness, bead=dataclasses.replace(what.readiness.bead, status=status))
        )
        assert status_of(again, NOON + 7) == status


class TestSessions:
    def test_a_submitted_session_is_recorded_with_the_phase_in_one_write(self) -> None:
        pod = build.session_pod(exit_code=0, message={**SUBMITTED, "usage": {"inputTokens": 7}})
        bead = build.held_bead(phase="Working", status={"attempts": 2})
        status = status_of(seen(bead, pod=pod, merge_requests=(build.merge_request(),)), LATER)
        assert (status.phase, status.sessionUid, status.attempts) == ("Submitted", pod.metadata.uid, 0)
        assert (status.head, status.branch) == (HEAD, "polecat/greeter-nux/gp-1")
        assert (status.usage.sessions, status.usage.inputTokens, status.usage.wallSeconds) == (1, 7, 60)

    def test_a_session_about_to_end_is_awaited_before_submitted_is_told(self) -> None:
        what = seen(build.held_bead(phase="Working"), pod=build.session_pod(), merge_requests=(build.merge_request(),))
        assert status_of(what, NOON + 1).phase == "Working"
        assert any(isinstance(action, Wake) for action in decider.decide(what, NOON + 1))
        assert status_of(what, NOON + 4).phase == "Submitted"

    def test_a_session_that_says_submitted_is_believed_only_when_the_request_is_seen(self) -> None:
        what = seen(build.held_bead(phase="Working"), pod=build.session_pod(exit_code=0, message=SUBMITTED))
        soon = status_of(what, LATER)
        assert (soon.phase, soon.attempts, soon.sessionUid) == ("Hooked", 0, "")
        # However late or early the clock of its machine is: only what the operator saw counts.
        assert status_of(what, LATER + 86400).attempts == 0
        late = status_of(dataclasses.replace(what, ended_seconds=600.0), LATER)
        assert (late.attempts, late.sessionUid) == (1, "pod-greeter-nux-1")

    @pytest.mark.parametrize(
        ("pod", "attempts"),
        [
            pytest.param(build.session_pod(exit_code=1, message=FAILED), 1, id="failed"),
            pytest.param(build.session_pod(exit_code=0, message={"outcome": "NoChange"}), 1, id="nothing to submit"),
            pytest.param(build.session_pod(exit_code=0, message={"outcome": "Handoff"}), 0, id="handed off"),
            pytest.param(build.session_pod(exit_code=137, message="", reason="OOMKilled"), 1, id="killed without a word"),
            pytest.param(build.session_pod(exit_code=143, message="", deleted=NOON_TEXT), 0, id="stopped on request without a word"),
            pytest.param(build.session_pod(phase="Failed", pod_reason="Evicted"), 1, id="evicted"),
            pytest.param(build.session_pod(exit_code=0, message="[1, 2]"), 1, id="a message that is no object"),
        ],
    )
    def test_a_session_without_a_request_counts_as_an_attempt_unless_it_was_handed_off(self, pod: Any, attempts: int) -> None:
        status = status_of(seen(build.held_bead(phase="Working"), pod=pod), LATER)
        assert (status.phase, status.attempts, status.sessionUid) == ("Hooked", attempts, "pod-greeter-nux-1")

    def test_a_session_that_boasts_of_an_earlier_request_counts_as_an_attempt(self) -> None:
        earlier = build.merge_request(phase="Rejected", meta={"creationTimestamp": "2025-06-15T14:00:00Z"})
        rework = {"reworks": 1, "attempts": 1, "lastRework": Rework(reason="Rejected", mergeRequestName=earlier.metadata.name)}
        what = seen(
            build.held_bead(phase="Working", status=rework),
            pod=build.session_pod(exit_code=0, message=SUBMITTED),
            merge_requests=(earlier,),
        )
        assert status_of(what, LATER).attempts == 1
        assert status_of(dataclasses.replace(what, ended_seconds=600.0), LATER).attempts == 2

    def test_a_session_whose_request_came_back_at_once_has_submitted(self) -> None:
        request = build.merge_request(phase="Rejected")
        bead = build.bead(phase="Ready", status={"attempts": 1, "reworks": 1, "lastRework": Rework(mergeRequestName=request.metadata.name)})
        what = seen(bead, pod=build.session_pod(exit_code=0, message=SUBMITTED), merge_requests=(request,))
        assert (status_of(what, LATER).attempts, status_of(what, LATER).reworks) == (0, 1)

    def test_an_end_is_counted_once(self) -> None:
        bead = build.held_bead(status={"attempts": 1, "sessionUid": "pod-greeter-nux-1"})
        assert status_of(seen(bead, pod=build.session_pod(exit_code=1, message=FAILED)), LATER).attempts == 1

    def test_a_checkpoint_becomes_the_start_of_the_next_session(self) -> None:
        assert status_of(seen(build.held_bead(), pod=build.session_pod(exit_code=1, message=FAILED)), LATER).head == "b" * 40

    def test_a_lost_session_is_taken_from_the_agent_when_its_pod_is_gone(self) -> None:
        session = AgentSession(uid="u7", beadName="gp-1", lastOutcome="Lost", lastEndTime=NOON_TEXT)
        assert status_of(seen(build.held_bead(), agent=build.agent(session=session))).attempts == 1
        other = dataclasses.replace(session, beadName="gp-2")
        assert status_of(seen(build.held_bead(), agent=build.agent(session=other))).attempts == 0
        recorded = build.held_bead(status={"sessionUid": "u7"})
        assert status_of(seen(recorded, agent=build.agent(session=session))).attempts == 0

    def test_the_last_attempt_gives_the_bead_up_and_then_takes_it_from_the_agent(self) -> None:
        what = seen(build.held_bead(status={"attempts": 2}), agent=build.agent(), pod=build.session_pod(exit_code=1, message=FAILED))
        status = status_of(what, LATER)
        assert (status.phase, reason_of(status, "Stalled")) == ("Failed", ("True", "AttemptsExhausted"))
        recorded = dataclasses.replace(what.readiness.bead, status=status)
        assert change_of(dataclasses.replace(what, readiness=Readiness(recorded, rig=build.rig())), LATER) == {"assignee": ""}

    def test_a_person_asks_for_another_try_once(self) -> None:
        asked = {"annotations": {"gastown.dev/retry-requested-at": "now"}}
        status = status_of(seen(build.bead(status={"attempts": 3}, phase="Failed", meta=asked)))
        assert (status.phase, status.attempts, status.lastRetryRequest) == ("Ready", 0, "now")
        assert conditions.find_condition(status.conditions, "Stalled") is None
        again = build.bead(status={"attempts": 3, "lastRetryRequest": "now"}, phase="Failed", meta=asked)
        assert status_of(seen(again)).phase == "Failed"

    def test_a_retry_asked_for_while_the_agent_still_holds_the_bead_keeps_it_there(self) -> None:
        asked = {"annotations": {"gastown.dev/retry-requested-at": "now"}}
        what = seen(build.held_bead(status={"attempts": 3}, phase="Failed", meta=asked))
        assert (status_of(what).phase, status_of(what).attempts) == ("Hooked", 0)

    @pytest.mark.parametrize(
        ("counters", "limits", "reason"),
        [
            pytest.param({"attempts": 3}, SessionLimits(), "AttemptsExhausted", id="attempts"),
            pytest.param({"reworks": 4}, SessionLimits(), "ReworksExhausted", id="reworks"),
            pytest.param({"attempts": 3, "reworks": 4}, SessionLimits(attempts=0), "ReworksExhausted", id="no limit of attempts"),
            pytest.param({"reworks": 99}, SessionLimits(reworks=0), "", id="no limit of reworks"),
        ],
    )
    def test_who_is_given_up_is_told_why_and_how_to_go_on(self, counters: Any, limits: SessionLimits, reason: str) -> None:
        status = status_of(seen(build.bead(status=counters), limits=limits))
        stalled = conditions.find_condition(status.conditions, "Stalled")
        assert (stalled.reason if stalled is not None else "") == reason
        assert stalled is None or "set annotation gastown.dev/retry-requested-at" in stalled.message
        assert reason_of(status, "Startable") == (("False", reason) if reason else ("True", "Startable"))


class TestDelivery:
    def test_a_landed_request_closes_the_bead_first_and_tells_it_then(self) -> None:
        landed = (build.merge_request(phase="Landed"),)
        bead = build.held_bead(phase="Submitted")
        assert change_of(seen(bead, merge_requests=landed)) == {"state": "closed", "closeReason": f"landed {COMMIT}", "assignee": ""}
        closed = build.bead(state="closed", closeReason=f"landed {COMMIT}", status={"agentName": "greeter-nux"})
        status = status_of(seen(closed, merge_requests=landed))
        assert (status.phase, status.landedCommits, reason_of(status, "Landed")) == ("Landed", [COMMIT], ("True", "Landed"))
        events = [action for action in decider.decide(seen(closed, merge_requests=landed), NOON) if isinstance(action, Emit)]
        assert [event.reason for event in events] == ["Landed"]

    def test_a_landing_names_the_agent_though_its_binding_was_never_recorded(self) -> None:
        closed = build.bead(state="closed", closeReason=f"landed {COMMIT}")
        request = build.merge_request(phase="Landed")
        assert status_of(seen(closed, merge_requests=(request,))).agentName == request.spec.agentName != ""

    def test_a_landing_is_recorded_once(self) -> None:
        status = status_of(seen(build.bead(landed=True), merge_requests=(build.merge_request(phase="Landed"),)))
        assert status.landedCommits == [COMMIT]

    def test_a_bead_closed_by_hand_lands_all_the_same_and_keeps_its_reason(self) -> None:
        bead = build.held_bead(state="closed", closeReason="enough")
        assert change_of(seen(bead, merge_requests=(build.merge_request(phase="Landed"),))) == {"assignee": ""}

    def test_a_landing_tells_when_the_bead_was_closed_too(self) -> None:
        landed = (build.merge_request(phase="Landed"),)
        closed = build.bead(state="closed", phase="Submitted", status={"attempts": 1})
        status = status_of(seen(closed, merge_requests=landed))
        assert (status.times.landedTime, status.times.closedTime, status.attempts) == (NOON_TEXT, NOON_TEXT, 1)
        by_hand = BeadTimes(closedTime="2025-06-15T15:00:00Z")
        closed = build.bead(state="closed", phase="Closed", status={"times": by_hand, "attempts": 1})
        status = status_of(seen(closed, merge_requests=landed))
        assert (status.times.landedTime, status.times.closedTime, status.attempts) == (NOON_TEXT, "2025-06-15T15:00:00Z", 1)

    def test_a_return_is_told_by_an_event_and_so_is_giving_up(self) -> None:
        returned = decider.decide(seen(build.bead(phase="Submitted"), merge_requests=(build.merge_request(phase="Rejected"),)), NOON)
        assert [(action.type, action.reason) for action in returned if isinstance(action, Emit)] == [("Warning", "Rejected")]
        given_up = decider.decide(seen(build.bead(phase="Hooked", status={"attempts": 3})), NOON)
        assert [(action.type, action.reason) for action in given_up if isinstance(action, Emit)] == [("Warning", "AttemptsExhausted")]
        again = decider.decide(seen(build.bead(phase="Failed", status={"attempts": 3})), NOON)
        assert [action for action in again if isinstance(action, Emit)] == []

    def test_the_return_that_uses_up_the_reworks_is_told_as_giving_up(self) -> None:
        what = seen(build.bead(phase="Submitted", status={"reworks": 3}), merge_requests=(build.merge_request(phase="Rejected"),))
        (event,) = [action for action in decider.decide(what, NOON) if isinstance(action, Emit)]
        assert (event.type, event.reason) == ("Warning", "ReworksExhausted")
        assert event.message.startswith("given up after 0 attempts and 4 reworks")

    def test_a_reopened_bead_keeps_its_commits_and_starts_afresh(self) -> None:
        bead = build.bead(landed=True, state="open", closeReason="", status={"attempts": 2, "reworks": 1})
        status = status_of(seen(bead, merge_requests=(build.merge_request(phase="Landed"),)))
        assert (status.phase, status.landedCommits, status.attempts, status.reworks) == ("Ready", [COMMIT], 0, 0)
        assert reason_of(status, "Landed") == ("False", "Reopened")

    def test_rejected_work_is_taken_from_the_agent_and_then_counted_with_its_evidence(self) -> None:
        red = GateResult(name="unit-tests", verdict="Failed", exitCode=1, logTail="1 failed")
        request = build.merge_request(phase="Rejected", pinned=True, verified="True", status={"gateResults": [red]})
        assert change_of(seen(build.held_bead(phase="Submitted"), merge_requests=(request,))) == {"assignee": ""}
        status = status_of(seen(build.bead(phase="Submitted"), merge_requests=(request,)))
        assert status.lastRework is not None
        assert (status.lastRework.reason, status.lastRework.gate, status.lastRework.logTail) == ("Rejected", "unit-tests", "1 failed")
        assert (status.phase, status.reworks, status.head) == ("Ready", 1, HEAD)
        assert reason_of(status, "Submitted") == ("False", "Rejected")

    def test_a_conflict_returns_with_base_and_files(self) -> None:
        conflict = MergeConflict(base=COMMIT, files=["a.py"])
        request = build.merge_request(phase="Conflicted", pinned=True, status={"conflict": conflict})
        status = status_of(seen(build.bead(), merge_requests=(request,)))
        assert status.lastRework is not None
        assert (status.lastRework.reason, status.lastRework.base, status.lastRework.files) == ("Conflicted", COMMIT, ["a.py"])

    def test_a_return_is_counted_once(self) -> None:
        request = build.merge_request(phase="Rejected")
        bead = build.bead(status={"reworks": 1, "lastRework": Rework(mergeRequestName=request.metadata.name)})
        assert status_of(seen(bead, merge_requests=(request,))).reworks == 1

    def test_an_old_return_does_not_take_the_bead_from_its_next_holder(self) -> None:
        bead = build.held_bead(agent_name="greeter-max")
        assert change_of(seen(bead, agent=build.agent("greeter-max"), merge_requests=(build.merge_request(phase="Rejected"),))) is None

    @pytest.mark.parametrize(
        "request_",
        [
            pytest.param(build.merge_request(pinned=True, verified="False/EmptyChange"), id="empty change"),
            pytest.param(
                build.merge_request(
                    status={"conditions": [build.condition("HeadPinned", "False", "HeadNotFound", since="2025-06-15T15:00:00Z")]}
                ),
                id="head that was never found",
            ),
        ],
    )
    def test_what_can_not_be_merged_comes_back(self, request_: Any) -> None:
        assert change_of(seen(build.held_bead(phase="Submitted"), merge_requests=(request_,))) == {"assignee": ""}

    def test_a_condition_that_can_not_come_true_closes_the_bead_as_skipped(self) -> None:
        other = build.bead("gp-2", landed=True)
        bead = build.bead(dependencies=[Dependency(id="gp-2", type="conditional-blocks")])
        neighbours = {"neighbours": Neighbours({"gp-2": other})}
        assert change_of(seen(bead, readiness=neighbours)) == {"state": "closed", "closeReason": "skipped: gp-2 did not fail"}

    def test_who_holds_a_bead_that_is_not_needed_any_more_may_finish(self) -> None:
        bead = build.held_bead(dependencies=[Dependency(id="gp-2", type="conditional-blocks")])
        assert change_of(seen(bead, readiness={"neighbours": Neighbours({"gp-2": build.bead("gp-2", landed=True)})})) is None


@pytest.mark.parametrize("fields", [pytest.param({"assignee": "greeter-nux"}, id="held"), pytest.param({"state": "closed"}, id="closed")])
def test_a_bead_that_is_held_or_closed_is_blocked_by_nothing(fields: dict[str, Any]) -> None:
    bead = build.bead(waits_for=["gp-2"], status={"blockedBy": ["gp-2"]}, **fields)
    assert status_of(seen(bead)).blockedBy == []


@pytest.mark.parametrize(
    ("what", "seconds"),
    [
        pytest.param(seen(build.bead()), [], id="nothing to wait for"),
        pytest.param(seen(build.bead(deferUntil="2025-06-15T15:07:40Z")), [60.0], id="a deferral ends"),
        pytest.param(seen(build.bead(deferUntil="2025-06-15T15:07:40Z", state="closed")), [], id="a deferral of what is closed"),
        pytest.param(
            seen(build.held_bead(), merge_requests=(build.merge_request(status={"conditions": [build.condition("HeadPinned", "False")]}),)),
            [60.0],
            id="a head is not pinned",
        ),
        pytest.param(seen(build.held_bead(), merge_requests=(build.merge_request(pinned=True),)), [], id="its head is pinned"),
        pytest.param(seen(build.held_bead(), agent=None), [30.0], id="its agent may not exist"),
        pytest.param(seen(build.held_bead(), pod=build.session_pod(deleted=NOON_TEXT)), [121.0], id="its pod is being deleted"),
        pytest.param(seen(build.held_bead(), pod=build.session_pod(exit_code=1, deleted=NOON_TEXT)), [], id="its deleted pod has ended"),
        pytest.param(seen(build.held_bead(), pod=build.session_pod(exit_code=0, message=SUBMITTED)), [120.0], id="a word to be confirmed"),
        pytest.param(seen(build.bead(), waiting=Waiting("NoCapacity", "full", since=NOON)), [10.0], id="a wait to be told"),
    ],
)
def test_the_clock_wakes_what_only_the_clock_can_change(what: BeadSeen, seconds: list[float]) -> None:
    assert [action.after_seconds for action in decider.decide(what, NOON) if isinstance(action, Wake)] == seconds


class TestHolders:
    def test_a_retired_agent_loses_its_bead(self) -> None:
        assert change_of(seen(build.held_bead(), agent=build.agent(retired=True))) == {"assignee": ""}

    def test_an_agent_that_does_not_exist_loses_its_bead_after_a_while(self) -> None:
        assert change_of(seen(build.held_bead(), agent=None), NOON + 5) is None
        assert change_of(seen(build.held_bead(), agent=None), NOON + 60) == {"assignee": ""}

    def test_a_person_may_hold_a_bead(self) -> None:
        what = seen(build.held_bead(agent_name="Alice@example.com"))
        assert change_of(what, NOON + 600) is None
        assert status_of(what).agentName == ""

    def test_a_bead_on_a_lost_node_goes_to_another_agent(self) -> None:
        pod = build.session_pod(deleted=NOON_TEXT)
        what = seen(build.held_bead(phase="Working"), agent=build.agent(), pod=pod)
        assert change_of(what, NOON + 60) is None
        assert change_of(what, NOON + 130) == {"assignee": ""}

    def test_a_bead_taken_from_an_agent_waits_for_the_end_of_its_session(self) -> None:
        bead = build.bead(status={"agentName": "greeter-nux"})
        status = status_of(seen(bead, pod=build.session_pod(deleted=NOON_TEXT)), NOON + 5)
        assert (status.phase, reason_of(status, "Startable")) == ("Blocked", ("False", "Stopping"))
        assert status_of(seen(bead, pod=build.session_pod(deleted=NOON_TEXT)), NOON + 130).phase == "Ready"

    def test_a_bead_being_deleted_is_left_alone(self) -> None:
        assert decider.decide(seen(build.bead(meta={"deletionTimestamp": NOON_TEXT})), NOON) == []


class TestWaiting:
    def test_who_waits_long_is_told_why(self) -> None:
        waiting = Waiting("NoCapacity", "the town is full", since=NOON)
        short, long = seen(build.bead(), waiting=waiting), NOON + 11
        assert conditions.find_condition(status_of(short, NOON + 1).conditions, "Progressing") is None
        assert reason_of(status_of(short, long), "Progressing") == ("False", "NoCapacity")

    @pytest.mark.parametrize(
        ("agent", "expected"),
        [
            pytest.param(build.agent(status={"beadName": "gp-9"}), "AgentBusy", id="works on another bead first"),
            pytest.param(build.agent(suspend=True), "Suspended", id="suspended"),
            pytest.param(
                build.agent(session=AgentSession(uid="u", lastOutcome="Failed", nextStartTime="2025-06-15T15:10:00Z")),
                "BackOff",
                id="back-off",
            ),
        ],
    )
    def test_a_bound_bead_without_a_session_is_told_why(self, agent: Any, expected: str) -> None:
        assert reason_of(status_of(seen(build.held_bead(), agent=agent), NOON + 20), "Progressing") == ("False", expected)

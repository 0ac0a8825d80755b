"""How do the sessions that a bead was given up for stay known, when their pods and logs are gone?"""

from __future__ import annotations

from typing import Any

import pytest

from gastown.actions import Emit, SetStatus
from gastown.api import conditions, labels, reasons
from gastown.api.agent import Agent, AgentSession
from gastown.api.agent_profile import SessionLimits
from gastown.api.bead import Bead, BeadStatus, FailedSession
from gastown.decide import bead as decider
from gastown.decide.bead import FAILED_SESSIONS_LIMIT, BeadSeen
from gastown.decide.readiness import Readiness
from support import build
from support.build import HEAD, NOON, NOON_TEXT

LATER = NOON + 61
FAILED = {"outcome": "Failed", "reason": "AgentFailed", "message": "out of ideas"}
TOLD = FailedSession(agentName="greeter-nux", sessionUid="pod-0", outcome="Lost", message="silent", exitCode=137, endTime=NOON_TEXT)


def status_of(bead: Bead, **fields: Any) -> BeadStatus:
    """The status decided on."""
    what = BeadSeen(readiness=Readiness(bead, rig=build.rig()), **{"agent": build.agent(), **fields})
    (status,) = [action.status for action in decider.decide(what, LATER) if isinstance(action, SetStatus)]
    assert isinstance(status, BeadStatus)
    return status


def test_a_session_that_cost_an_attempt_is_recorded_with_its_last_words_and_exit_code() -> None:
    status = status_of(build.held_bead(), pod=build.session_pod(exit_code=3, message=FAILED))
    (failed,) = status.failedSessions
    assert (failed.agentName, failed.sessionUid, failed.outcome) == ("greeter-nux", "pod-greeter-nux-1", "Failed")
    assert (failed.message, failed.exitCode, failed.endTime) == ("AgentFailed: out of ideas", 3, "2025-06-15T15:07:40Z")


def test_only_the_newest_are_kept() -> None:
    before = [TOLD] * FAILED_SESSIONS_LIMIT
    status = status_of(build.held_bead(status={"failedSessions": before}), pod=build.session_pod(exit_code=3, message=FAILED))
    assert len(status.failedSessions) == FAILED_SESSIONS_LIMIT
    assert status.failedSessions[-1].outcome == "Failed"


@pytest.mark.parametrize(
    ("bead", "fields"),
    [
        pytest.param(
            build.held_bead(status={"attempts": 1, "failedSessions": [TOLD]}),
            {
                "pod": build.session_pod(exit_code=0, message={"outcome": "Submitted", "head": HEAD, "mergeRequest": f"gp-1-{HEAD[:12]}"}),
                "merge_requests": (build.merge_request(),),
            },
            id="a later one submitted",
        ),
        pytest.param(
            build.bead(
                phase="Failed",
                status={"attempts": 3, "failedSessions": [TOLD]},
                meta={"annotations": {labels.RETRY_REQUESTED_AT: "now"}},
            ),
            {},
            id="a person asked for another try",
        ),
    ],
)
def test_they_are_forgotten_with_the_attempts_when(bead: Bead, fields: dict[str, Any]) -> None:
    status = status_of(bead, **fields)
    assert (status.attempts, status.failedSessions) == (0, [])


def test_who_is_given_up_says_how_the_last_session_ended() -> None:
    bead = build.bead(phase="Hooked", status={"attempts": 2, "agentName": "greeter-nux"})
    what = BeadSeen(
        readiness=Readiness(bead, rig=build.rig()),
        agent=build.agent(),
        pod=build.session_pod(exit_code=3, message=FAILED),
        limits=SessionLimits(attempts=3),
    )
    actions = decider.decide(what, LATER)
    (status,) = [action.status for action in actions if isinstance(action, SetStatus)]
    stalled = conditions.find_condition(status.conditions, conditions.STALLED)
    (event,) = [action for action in actions if isinstance(action, Emit)]
    assert stalled is not None
    assert "the last session, of greeter-nux, ended as Failed (AgentFailed: out of ideas)" in stalled.message
    assert (event.reason, event.message) == (reasons.ATTEMPTS_EXHAUSTED, stalled.message)


@pytest.mark.parametrize(
    ("lease", "head"),
    [
        pytest.param(build.lease(holder="pod-greeter-nux-1", **{labels.CHECKPOINT: "b" * 40}), "b" * 40, id="told with its heartbeat"),
        pytest.param(build.lease(holder="pod-greeter-nux-0", **{labels.CHECKPOINT: "b" * 40}), HEAD, id="told by an earlier session"),
        pytest.param(None, HEAD, id="no Lease"),
    ],
)
def test_a_bead_goes_on_from_the_checkpoint_that_a_killed_session_told(lease: Any, head: str) -> None:
    bead = build.held_bead(status={"head": HEAD})
    assert status_of(bead, pod=build.session_pod(exit_code=137), lease=lease).head == head


def test_what_the_session_says_at_its_end_counts_more_than_its_last_heartbeat() -> None:
    lease = build.lease(holder="pod-greeter-nux-1", **{labels.CHECKPOINT: "b" * 40})
    pod = build.session_pod(exit_code=1, message={"outcome": "Failed", "checkpoint": "c" * 40})
    assert status_of(build.held_bead(), pod=pod, lease=lease).head == "c" * 40


def doubted(reason: str, type_: str = conditions.SUSPECT) -> Agent:
    """An agent whose session on gp-1 is not trusted since half an hour."""
    told = [build.condition(type_, reason=reason, message="why", since="2025-06-15T14:30:00Z")]
    return build.agent(phase="Working", session=AgentSession(uid="pod-greeter-nux-1"), status={"conditions": told, "beadName": "gp-1"})


@pytest.mark.parametrize(
    ("agent", "pod", "expected"),
    [
        pytest.param(doubted(reasons.NOT_STARTING), build.session_pod(phase="Pending"), "NotStarting", id="its pod does not start"),
        pytest.param(doubted(reasons.HEARTBEAT_MISSED), build.session_pod(), "HeartbeatMissed", id="its session is silent"),
        pytest.param(doubted(reasons.NO_PROGRESS, conditions.STALLED), build.session_pod(), "NoProgress", id="its session is hung"),
    ],
)
def test_what_the_witness_thinks_of_the_session_is_told_on_its_bead(agent: Agent, pod: Any, expected: str) -> None:
    status = status_of(build.held_bead(phase="Working"), agent=agent, pod=pod)
    progressing = conditions.find_condition(status.conditions, conditions.PROGRESSING)
    assert progressing is not None
    assert (progressing.status, progressing.reason, progressing.message) == ("False", expected, "agent greeter-nux: why")


def test_a_replaced_session_costs_an_attempt_though_it_was_stopped_on_request() -> None:
    pod = build.session_pod(exit_code=143, deleted=NOON_TEXT)
    status = status_of(build.held_bead(), agent=doubted(reasons.REPLACED), pod=pod)
    assert (status.attempts, status.failedSessions[0].outcome) == (1, "Lost")
    assert status_of(build.held_bead(), pod=pod).attempts == 0

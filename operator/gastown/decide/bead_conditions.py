"""The conditions of a bead, from what `decide/bead.py` derived. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gastown.api import bead as beads
from gastown.api import conditions, labels, reasons
from gastown.api.agent import Agent
from gastown.api.bead import Bead, BeadStatus
from gastown.api.meta import Condition
from gastown.decide import outcomes
from gastown.decide.delivery import Delivery
from gastown.decide.readiness import Verdict
from gastown.decide.times import seconds_since, time_text, unix_seconds

# Who waits less than this is not worth a write.
SHOWN_AFTER_SECONDS = 10.0
# Of the message of a session in a condition; all of it stays in the status.
_TOLD_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a bead that could move does not.

    Attributes:
        since: Unix seconds.
    """

    reason: str
    message: str
    since: float

    def is_shown(self, now: float) -> bool:
        """Whether it waits long enough to be told."""
        return now - self.since >= SHOWN_AFTER_SECONDS

    def shown_after_seconds(self, now: float) -> float:
        """When it will be told."""
        return max(0.1, self.since + SHOWN_AFTER_SECONDS - now)


def why_waiting(bead: Bead, phase: str, agent: Agent | None, dispatch: Waiting | None, now: float) -> Waiting | None:
    """Why a Ready bead has no agent, a Hooked one no session, or a session no life; None if it moves."""
    if phase == beads.PHASE_READY:
        return dispatch
    if (doubt := _doubt(bead, phase, agent, now)) is not None:
        return doubt
    if phase != beads.PHASE_HOOKED or agent is None:
        return None
    known = (unix_seconds(bead.status.times.hookedTime), unix_seconds(agent.status.session.lastEndTime))
    since = max((time for time in known if time is not None), default=now)
    busy_with = agent.status.beadName
    if agent.spec.suspend:
        return Waiting(reasons.SUSPENDED, f"agent {agent.metadata.name} is suspended", since)
    if busy_with not in ("", bead.metadata.name):
        return Waiting(reasons.AGENT_BUSY, f"agent {agent.metadata.name} works on {busy_with} first", since)
    back_off = seconds_since(agent.status.session.nextStartTime, now)
    if back_off is not None and back_off < 0:
        text = f"the last session ended as {agent.status.session.lastOutcome}; the next one starts at {agent.status.session.nextStartTime}"
        return Waiting(reasons.BACK_OFF, text, since)
    return None


def _doubt(bead: Bead, phase: str, agent: Agent | None, now: float) -> Waiting | None:
    """What the Witness thinks of the session that works on the bead, or should."""
    if phase not in (beads.PHASE_HOOKED, beads.PHASE_WORKING) or agent is None or agent.status.beadName != bead.metadata.name:
        return None
    for type_ in (conditions.SUSPECT, conditions.STALLED):
        found = conditions.find_condition(agent.status.conditions, type_)
        if found is not None and found.status == "True":
            since = unix_seconds(found.lastTransitionTime)
            # It was waited for long enough before it was told on the agent.
            return Waiting(
                found.reason, f"agent {agent.metadata.name}: {found.message}", (now if since is None else since) - SHOWN_AFTER_SECONDS
            )
    return None


def derive(
    bead: Bead, status: BeadStatus, delivery: Delivery, verdict: Verdict, waiting: Waiting | None, exhausted: str, now: float
) -> list[Condition]:
    """All conditions of the bead; Progressing and Stalled are there only when they say something is wrong.

    Args:
        status: As derived so far, phase included.
        exhausted: Reason for which it was given up, or "".
    """
    given_up = exhausted if status.phase == beads.PHASE_FAILED else ""
    wanted = [
        _ready(verdict),
        _startable(bead, status, verdict, given_up),
        _submitted(status, delivery),
        _landed(bead, status),
        _progressing(waiting),
        _stalled(verdict, status, given_up),
    ]
    found = bead.status.conditions
    for condition in wanted:
        if condition.status:
            dated = Condition(
                type=condition.type,
                status=condition.status,
                reason=condition.reason,
                message=condition.message,
                observedGeneration=bead.metadata.generation,
            )
            found = conditions.with_condition(found, dated, time_text(now))
        else:
            found = conditions.without_condition(found, condition.type)
    return list(found)


def _ready(verdict: Verdict) -> Condition:
    if verdict.reason == reasons.UNKNOWN_PREFIX:
        return Condition(type=conditions.READY, status="False", reason=verdict.reason, message=verdict.message)
    return Condition(type=conditions.READY, status="True", reason=reasons.ACCEPTED, message="accepted")


def _startable(bead: Bead, status: BeadStatus, verdict: Verdict, given_up: str) -> Condition:
    reason, message = verdict.reason, verdict.message
    if outcomes.is_closed(bead):
        reason, message = reasons.CLOSED, bead.spec.closeReason
    elif given_up:
        reason, message = given_up, "given up"
    elif status.phase == beads.PHASE_SUBMITTED:
        reason, message = reasons.MERGE_REQUEST_CREATED, f"{status.mergeRequestName} is on its way"
    elif bead.spec.assignee:
        reason, message = reasons.BOUND, f"held by {bead.spec.assignee}"
    startable = verdict.startable and reason == reasons.STARTABLE
    return Condition(type=conditions.STARTABLE, status="True" if startable else "False", reason=reason, message=message)


def _submitted(status: BeadStatus, delivery: Delivery) -> Condition:
    if status.phase == beads.PHASE_LANDED or delivery.current is not None:
        return Condition(
            type=conditions.SUBMITTED,
            status="True",
            reason=reasons.MERGE_REQUEST_CREATED,
            message=f"MergeRequest {status.mergeRequestName}",
        )
    if status.lastRework is not None:
        text = f"{status.lastRework.mergeRequestName} came back: {status.lastRework.message}".removesuffix(": ")
        reason = status.lastRework.reason or reasons.NOT_SUBMITTED
        return Condition(type=conditions.SUBMITTED, status="False", reason=reason, message=text)
    return Condition(type=conditions.SUBMITTED, status="False", reason=reasons.NOT_SUBMITTED, message="no MergeRequest yet")


def _landed(bead: Bead, status: BeadStatus) -> Condition:
    if status.phase == beads.PHASE_LANDED:
        text = f"main contains it since {status.landedCommits[-1]}" if status.landedCommits else "main contains it"
        return Condition(type=conditions.LANDED, status="True", reason=reasons.LANDED, message=text)
    if outcomes.is_skipped(bead):
        return Condition(type=conditions.LANDED, status="False", reason=reasons.SKIPPED, message=bead.spec.closeReason)
    if status.landedCommits and not outcomes.is_closed(bead):
        text = f"landed before as {status.landedCommits[-1]}, then opened again"
        return Condition(type=conditions.LANDED, status="False", reason=reasons.REOPENED, message=text)
    return Condition(type=conditions.LANDED, status="False", reason=reasons.NOT_LANDED, message="no commit of it is on main")


def _progressing(waiting: Waiting | None) -> Condition:
    if waiting is None:
        return Condition(type=conditions.PROGRESSING, status="")
    return Condition(type=conditions.PROGRESSING, status="False", reason=waiting.reason, message=waiting.message)


def given_up_text(status: BeadStatus) -> str:
    """For people: why there is no further session, and how to ask for one."""
    spent = f"{status.attempts} attempts and {status.reworks} reworks"
    last = ""
    if status.failedSessions:
        failed = status.failedSessions[-1]
        told = f"{failed.outcome} ({failed.message[:_TOLD_CHARACTERS]})"
        last = f"; the last session, of {failed.agentName or 'an unknown agent'}, ended as {told}, see status.failedSessions"
    elif status.lastRework is not None:
        # In short: the whole of it stays in status.lastRework.
        last = f"; {status.lastRework.mergeRequestName} came back last ({status.lastRework.reason}), see status.lastRework"
    return f"given up after {spent}{last}; to retry, set annotation {labels.RETRY_REQUESTED_AT} to the present time"


def _stalled(verdict: Verdict, status: BeadStatus, given_up: str) -> Condition:
    if given_up:
        text = given_up_text(status)
        return Condition(type=conditions.STALLED, status="True", reason=given_up, message=text)
    if verdict.reason == reasons.DEPENDENCY_CYCLE and status.phase == beads.PHASE_BLOCKED:
        return Condition(type=conditions.STALLED, status="True", reason=verdict.reason, message=verdict.message)
    return Condition(type=conditions.STALLED, status="")

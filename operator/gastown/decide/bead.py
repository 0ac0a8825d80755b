"""What became of this bead? Phase, conditions, counters and record: the one place where a bead's status is derived.

A decision is either one change of the spec or one write of the whole status, never both: the other one follows on the next look, so
a crash between the two is just a look that comes later. Where both are due the one that cannot be derived anew goes first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from gastown.actions import NORMAL, WARNING, Action, Emit, PatchSpec, SetStatus, Wake
from gastown.api import bead as beads
from gastown.api import conditions, labels, reasons
from gastown.api.agent import Agent, AgentSession
from gastown.api.agent_profile import Prices, SessionLimits
from gastown.api.bead import Bead, BeadStatus, FailedSession
from gastown.api.core import Lease, Pod
from gastown.api.merge_request import MergeRequest
from gastown.decide import bead_conditions, outcomes, readiness, rework, session_end, witness
from gastown.decide.bead_conditions import Waiting
from gastown.decide.delivery import UNPINNED_SECONDS, Delivery, delivery_of, why_returned
from gastown.decide.readiness import Readiness, Verdict
from gastown.decide.session_end import SessionEnd
from gastown.decide.times import is_recent, seconds_since, time_text
from gastown.decide.usage import added

# How long a session may take from submitting to its end.
SETTLE_SECONDS = 3.0
# A session says "submitted" or "closed", but the object that shows it is not seen: after this time it is not believed. Longer than the
# watch of one kind may lag behind another's (90 s until a dead stream is noticed), or an attempt would be counted for nothing.
BELIEF_SECONDS = 120.0
LOST_NODE_SECONDS = witness.LOST_NODE_SECONDS
# An agent just made for a binding may be unknown for a moment; after this time it does not exist.
UNKNOWN_AGENT_SECONDS = 30.0
# As the CRD bounds them: blockers and landed commits listed, characters kept of a retry request.
LISTED_LIMIT = 64
RETRY_LIMIT = 256
FAILED_SESSIONS_LIMIT = 5
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class BeadSeen:
    """All that bears on one bead.

    Attributes:
        readiness: The bead and what may hold it back.
        merge_requests: All of this bead.
        agent: The Agent named by spec.assignee, else by status.agentName.
        pod: That agent's pod, if it carries this bead; it decides readiness.session_ends.
        lease: That agent's.
        ended_seconds: For how long the operator knows that the session in the pod is over, by its own clock: the pod's machine may have
            another.
        limits: Of the profile it is worked with.
        prices: Likewise.
        waiting: Why the dispatcher has not bound it yet; None if it has no say.
    """

    readiness: Readiness
    merge_requests: tuple[MergeRequest, ...] = ()
    agent: Agent | None = None
    pod: Pod | None = None
    lease: Lease | None = None
    ended_seconds: float = 0.0
    limits: SessionLimits = field(default_factory=SessionLimits)
    prices: Prices = field(default_factory=Prices)
    waiting: Waiting | None = None


def decide(seen: BeadSeen, now: float) -> list[Action]:
    """One change of the spec, or the status as it should be.

    Args:
        now: Unix seconds.
    """
    bead = seen.readiness.bead
    if bead.metadata.deletionTimestamp:
        return []
    delivery = delivery_of(bead, seen.merge_requests, now)
    verdict = readiness.judge(replace(seen.readiness, session_ends=_session_ends(seen, now)), now)
    if (change := _spec_change(seen, delivery, verdict, now)) is not None:
        return [change]
    settling = _is_settling(seen, delivery, now)
    status, wakes = _derive(seen, replace(delivery, current=None) if settling else delivery, verdict, now)
    if settling:
        wakes.append(Wake(SETTLE_SECONDS, reason="a session that has submitted should end"))
    # Blockers that close one by one need not cost a write each; a new phase is written at once all the same.
    roll_up = status.phase == bead.status.phase == beads.PHASE_BLOCKED
    return [
        SetStatus(bead, status, roll_up=roll_up, reason=_log_line(bead, status)),
        *_events(bead, status),
        *wakes,
        *_ring_wakes(bead, verdict),
    ]


def _ring_wakes(bead: Bead, verdict: Verdict) -> list[Wake]:
    """The others of a ring that was found, and of one that is gone: whoever finds it tells them, since a walk through all that wait for
    each other at every change would take seconds for a convoy of thousands."""
    startable = conditions.find_condition(bead.status.conditions, conditions.STARTABLE)
    was_in_ring = startable is not None and startable.reason == reasons.DEPENDENCY_CYCLE
    before = set(bead.status.blockedBy) if was_in_ring else set()
    present = set(verdict.blocked_by) if verdict.reason == reasons.DEPENDENCY_CYCLE else set()
    if before == set(verdict.blocked_by[:LISTED_LIMIT] if present else ()):
        return []
    others = sorted((before | present) - {bead.metadata.name})
    return [Wake(0.0, key=(bead.metadata.namespace, other), reason="a ring was found or opened") for other in others]


def _session_ends(seen: BeadSeen, now: float) -> bool:
    """Whether a session that lost the bead may still write to its branch; a lost node is not waited for."""
    pod = seen.pod
    if seen.readiness.bead.spec.assignee or pod is None or session_end.is_over(pod):
        return False
    overdue = seconds_since(pod.metadata.deletionTimestamp, now)
    return overdue is None or overdue <= LOST_NODE_SECONDS


def _spec_change(seen: BeadSeen, delivery: Delivery, verdict: Verdict, now: float) -> PatchSpec | None:
    bead, held_by = seen.readiness.bead, seen.readiness.bead.spec.assignee
    if delivery.landed:
        if not outcomes.is_closed(bead):
            commit = delivery.landed[-1].status.landedCommit
            closed = {"state": beads.CLOSED, "closeReason": f"landed {commit}", "assignee": ""}
            return PatchSpec(bead, closed, reason=f"{delivery.landed[-1].metadata.name} landed")
        return PatchSpec(bead, {"assignee": ""}, reason="landed") if held_by else None
    if outcomes.is_closed(bead):
        return None
    if verdict.skip and not held_by:
        text = f"{outcomes.SKIPPED_PREFIX}{verdict.skip} did not fail"
        return PatchSpec(bead, {"state": beads.CLOSED, "closeReason": text}, reason=text)
    if held_by and (why := _why_unbind(seen, delivery, now)):
        return PatchSpec(bead, {"assignee": ""}, reason=f"taken from {held_by}: {why}")
    return None


def _why_unbind(seen: BeadSeen, delivery: Delivery, now: float) -> str:
    bead, agent, pod = seen.readiness.bead, seen.agent, seen.pod
    held_by = bead.spec.assignee
    if delivery.returned is not None and delivery.returned.spec.agentName == held_by:
        return f"{delivery.returned.metadata.name} came back ({why_returned(delivery.returned, now)})"
    if delivery.current is not None:
        return ""
    if _exhausted(bead.status, seen.limits) and not _retry_requested(bead):
        return "attempts or reworks are used up"
    if pod is not None and not session_end.is_over(pod):
        overdue = seconds_since(pod.metadata.deletionTimestamp, now)
        return "its node is lost" if overdue is not None and overdue > LOST_NODE_SECONDS else ""
    if agent is not None:
        return "the agent is retired" if agent.spec.retired else ""
    # Whoever is no Agent is a person; but a name of this rig's pool whose Agent is gone was one.
    hooked = seconds_since(bead.status.times.hookedTime, now)
    of_pool = seen.readiness.rig is not None and held_by.startswith(f"{seen.readiness.rig.metadata.name}-")
    return "the agent does not exist" if of_pool and hooked is not None and hooked > UNKNOWN_AGENT_SECONDS else ""


def _derive(seen: BeadSeen, delivery: Delivery, verdict: Verdict, now: float) -> tuple[BeadStatus, list[Wake]]:
    bead = seen.readiness.bead
    before = bead.status
    wakes: list[Wake] = []
    status = replace(before, observedGeneration=bead.metadata.generation)
    if before.phase in (beads.PHASE_LANDED, beads.PHASE_CLOSED) and not outcomes.is_closed(bead):
        status = rework.done_with(replace(status, attempts=0, reworks=0, failedSessions=[]))
    if _retry_requested(bead):
        status = replace(status, attempts=0, reworks=0, failedSessions=[], lastRetryRequest=_retry_request(bead))
    ended = _unrecorded_end(seen)
    if ended is not None:
        if _is_believable(seen, delivery, ended):
            status = _with_session_end(seen, status, delivery, ended)
        else:
            wakes.append(Wake(BELIEF_SECONDS, reason="the session's word is not confirmed yet"))
    status = _with_delivery(bead, status, delivery, now)
    if bead.spec.assignee:
        # A person may hold a bead too, under a name that no object could have.
        is_name = _OBJECT_NAME.fullmatch(bead.spec.assignee) is not None
        status = replace(status, agentName=bead.spec.assignee if is_name else "")
    elif not outcomes.is_closed(bead):
        status = replace(status, blockedBy=list(verdict.blocked_by[:LISTED_LIMIT]), dependencies=list(verdict.dependencies))
    if outcomes.is_closed(bead) or bead.spec.assignee:
        status = replace(status, blockedBy=[])
    phase = _phase(seen, status, delivery, verdict)
    if delivery.current is not None and conditions.is_false(delivery.current.status.conditions, conditions.HEAD_PINNED):
        wakes.append(Wake(UNPINNED_SECONDS, reason="its head is not pinned"))
    if verdict.wake_after_seconds is not None and not outcomes.is_closed(bead):
        wakes.append(Wake(verdict.wake_after_seconds, reason=verdict.reason))
    status = replace(status, phase=phase, times=_times(bead, phase, now))
    waiting = bead_conditions.why_waiting(bead, phase, seen.agent, seen.waiting, now)
    if waiting is not None and not waiting.is_shown(now):
        wakes.append(Wake(waiting.shown_after_seconds(now), reason=waiting.reason))
        waiting = None
    derived = bead_conditions.derive(bead, status, delivery, verdict, waiting, _exhausted_reason(status, seen.limits), now)
    if bead.spec.assignee and seen.agent is None and phase == beads.PHASE_HOOKED:
        wakes.append(Wake(UNKNOWN_AGENT_SECONDS, reason="the agent may not exist"))
    if seen.pod is not None and (wait := witness.overdue_after(seen.pod, now)) is not None:
        wakes.append(Wake(wait, reason="its pod is being deleted"))
    return replace(status, conditions=derived), wakes


def _phase(seen: BeadSeen, status: BeadStatus, delivery: Delivery, verdict: Verdict) -> str:
    """The first row of the phase table that holds."""
    bead = seen.readiness.bead
    if outcomes.is_closed(bead):
        return beads.PHASE_LANDED if _is_landed(bead, delivery) else beads.PHASE_CLOSED
    if verdict.reason in (reasons.PINNED, reasons.DEFERRED):
        return beads.PHASE_PINNED if verdict.reason == reasons.PINNED else beads.PHASE_DEFERRED
    if _exhausted(status, seen.limits):
        return beads.PHASE_FAILED
    if delivery.current is not None:
        return beads.PHASE_SUBMITTED
    if bead.spec.assignee:
        return beads.PHASE_WORKING if _works(seen) else beads.PHASE_HOOKED
    return beads.PHASE_BLOCKED if verdict.is_blocked else beads.PHASE_READY


def _works(seen: BeadSeen) -> bool:
    return seen.readiness.bead.spec.assignee != "" and seen.pod is not None and session_end.is_running(seen.pod)


def _is_settling(seen: BeadSeen, delivery: Delivery, now: float) -> bool:
    """Whether a session that has just submitted is about to end: then Submitted and its end become one write."""
    if delivery.current is None or not _works(seen) or seen.readiness.bead.status.phase != beads.PHASE_WORKING:
        return False
    return is_recent(delivery.current.metadata.creationTimestamp, SETTLE_SECONDS, now)


def _is_landed(bead: Bead, delivery: Delivery) -> bool:
    return bool(delivery.landed) or outcomes.is_landed(bead)


def _unrecorded_end(seen: BeadSeen) -> SessionEnd | None:
    """The end of a session that is not yet counted: status.sessionUid names the last one that is."""
    bead, pod, agent = seen.readiness.bead, seen.pod, seen.agent
    if pod is not None:
        ended = session_end.end_of(pod, seen.prices, witness.why_replaced(agent, pod.metadata.uid))
        return ended if ended is not None and ended.uid != bead.status.sessionUid else None
    if not bead.spec.assignee:
        return None  # a lost session costs an attempt of the bead it still holds
    session = agent.status.session if agent is not None else AgentSession()
    if session.lastOutcome != session_end.LOST or session.beadName != bead.metadata.name or session.uid == bead.status.sessionUid:
        return None
    return SessionEnd(uid=session.uid, outcome=session_end.LOST, message=session.lastMessage, time=session.lastEndTime)


def _has_submitted(seen: BeadSeen, delivery: Delivery, ended: SessionEnd) -> bool:
    # Only a request made since the session began: one that boasted of an old request each time would never use up its attempts.
    begun = seen.pod.metadata.creationTimestamp if seen.pod is not None else ""
    since = [mr.metadata.name for mr in seen.merge_requests if mr.metadata.creationTimestamp >= begun]
    return ended.merge_request_name in since or delivery.current is not None


def _is_believable(seen: BeadSeen, delivery: Delivery, ended: SessionEnd) -> bool:
    """False while the API objects may yet confirm what the session says: pods and MergeRequests come by different watches."""
    confirmed = {
        session_end.SUBMITTED: _has_submitted(seen, delivery, ended),
        session_end.CLOSED: outcomes.is_closed(seen.readiness.bead),
    }
    return confirmed.get(ended.outcome, True) or seen.ended_seconds >= BELIEF_SECONDS


def _with_session_end(seen: BeadSeen, status: BeadStatus, delivery: Delivery, ended: SessionEnd) -> BeadStatus:
    # A session that was killed could not say what it kept; its last heartbeat did.
    head = ended.head or witness.checkpoint(seen.lease, ended.uid) or status.head
    status = replace(status, sessionUid=ended.uid, head=head, usage=added(status.usage, ended.usage))
    if _has_submitted(seen, delivery, ended):
        return replace(status, attempts=0, failedSessions=[])
    if ended.outcome == session_end.HANDOFF or outcomes.is_closed(seen.readiness.bead):
        return status
    failed = FailedSession(
        agentName=seen.agent.metadata.name if seen.agent is not None else "",
        sessionUid=ended.uid,
        outcome=ended.outcome,
        message=ended.message[: session_end.MESSAGE_LIMIT],
        exitCode=ended.exit_code,
        endTime=ended.time,
    )
    return replace(status, attempts=status.attempts + 1, failedSessions=[*status.failedSessions, failed][-FAILED_SESSIONS_LIMIT:])


def _with_delivery(bead: Bead, status: BeadStatus, delivery: Delivery, now: float) -> BeadStatus:
    if delivery.landed:
        newest = delivery.landed[-1]
        commits = [*status.landedCommits, *(mr.status.landedCommit for mr in delivery.landed)][-LISTED_LIMIT:]
        return replace(
            status,
            # The binding may never have been recorded, when the operator died right after it; who did the work is known all the same.
            agentName=newest.spec.agentName,
            landedCommits=commits,
            mergeRequestName=newest.metadata.name,
            branch=newest.spec.branch,
            head=newest.spec.head,
        )
    if delivery.current is not None:
        current = delivery.current
        return replace(status, mergeRequestName=current.metadata.name, branch=current.spec.branch, head=current.spec.head)
    if delivery.returned is not None and not outcomes.is_closed(bead):
        returned = delivery.returned
        evidence = rework.evidence_of(returned, why_returned(returned, now), now)
        return replace(
            rework.with_rework(status, evidence),
            mergeRequestName="",
            branch=returned.spec.branch,
            head=returned.spec.head,
        )
    return status


def _retry_request(bead: Bead) -> str:
    return bead.metadata.annotations.get(labels.RETRY_REQUESTED_AT, "")[:RETRY_LIMIT]


def _retry_requested(bead: Bead) -> bool:
    return _retry_request(bead) not in ("", bead.status.lastRetryRequest)


def _exhausted_reason(status: BeadStatus, limits: SessionLimits) -> str:
    if limits.attempts and status.attempts >= limits.attempts:
        return reasons.ATTEMPTS_EXHAUSTED
    if limits.reworks and status.reworks > limits.reworks:
        return reasons.REWORKS_EXHAUSTED
    return ""


def _exhausted(status: BeadStatus, limits: SessionLimits) -> bool:
    return _exhausted_reason(status, limits) != ""


def _times(bead: Bead, phase: str, now: float) -> beads.BeadTimes:
    times = bead.status.times
    name = f"{phase.lower()}Time"
    if phase == bead.status.phase or not hasattr(times, name):
        return times
    if phase == beads.PHASE_HOOKED and bead.status.phase == beads.PHASE_WORKING:
        return times  # still the same binding: its age decides which bead an agent of several works on
    changed = {name: time_text(now)}
    if phase == beads.PHASE_LANDED and bead.status.phase != beads.PHASE_CLOSED:
        changed["closedTime"] = time_text(now)
    return replace(times, **changed)


def _log_line(bead: Bead, status: BeadStatus) -> str:
    return f"{bead.status.phase or 'new'} -> {status.phase}" if status.phase != bead.status.phase else f"still {status.phase}"


def _events(bead: Bead, status: BeadStatus) -> list[Emit]:
    """At most one per look, and only for what a person may want to know."""
    is_new = status.phase != bead.status.phase
    if is_new and status.phase == beads.PHASE_FAILED:
        stalled = conditions.find_condition(status.conditions, conditions.STALLED)
        reason = stalled.reason if stalled is not None else reasons.ATTEMPTS_EXHAUSTED
        return [Emit(bead, WARNING, reason, bead_conditions.given_up_text(status))]
    if status.reworks > bead.status.reworks and status.lastRework is not None:
        last = status.lastRework
        text = f"{last.mergeRequestName} came back, rework {status.reworks}: {last.message}".removesuffix(": ")
        return [Emit(bead, WARNING, last.reason, text)]
    if is_new and status.phase == beads.PHASE_LANDED:
        return [Emit(bead, NORMAL, reasons.LANDED, f"landed as {status.landedCommits[-1]}" if status.landedCommits else "landed")]
    return []

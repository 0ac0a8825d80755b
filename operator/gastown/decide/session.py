"""Which pod should this agent have, and what is it doing? Pure.

The pod carries exactly the agent's name, so the API server itself allows one session at a time. Work on the hook starts at once: no
work, no pod. A finished pod is read into the agent's status, and deleted when its bead has recorded it too. A session that the Witness
gives up is recorded first and its pod deleted then, so that a crash in between only delays the deletion.
"""

from __future__ import annotations

from dataclasses import replace

from gastown.actions import WARNING, Action, Create, Delete, Emit, PatchSpec, SetStatus, Unchanged, Wake
from gastown.api import agent as agents
from gastown.api import bead as beads
from gastown.api import conditions, kinds, labels, reasons
from gastown.api.agent import AgentStatus
from gastown.api.bead import Bead
from gastown.api.core import Pod
from gastown.decide import profiles, session_end, session_status, witness
from gastown.decide.agent_identity import identity
from gastown.decide.session_pod import GRACE_SECONDS, session_pod
from gastown.decide.session_seen import SessionSeen
from gastown.decide.session_status import SETTLE_SECONDS
from gastown.decide.session_stop import is_stopped, why_stop
from gastown.decide.times import is_recent, seconds_since, time_text
from gastown.decide.witness import Verdict

# A session that does not answer will hardly use its grace; one that can still make a checkpoint needs less than this.
SILENT_GRACE_SECONDS = 30
# What tells that a bead still waits for the session that is about to start.
BEAD_AT_START = ("spec.assignee", "spec.state", "status.mergeRequestName", "status.sessionUid")
# In the server's words when a ResourceQuota refuses.
_QUOTA = "exceeded quota"


def decide(seen: SessionSeen, now: float) -> list[Action]:
    """Bring about the pod this agent should have, and tell how it is.

    Args:
        now: Unix seconds.
    """
    agent = seen.agent
    if agent.metadata.deletionTimestamp or agent.spec.role != agents.ROLE_POLECAT:
        return []
    bead, pod = chosen_bead(seen.beads), seen.pod
    if pod is not None and session_end.is_over(pod) and not _is_recorded(seen, pod):
        return []  # its bead records it first, then the agent's status and the deletion are due at once
    if bead is None and not agent.status.phase and is_recent(agent.metadata.creationTimestamp, SETTLE_SECONDS, now):
        return [Wake(SETTLE_SECONDS, reason="made for a binding that is about to be seen")]
    # Whoever has a pod had them, though its status may not say so yet; a Lease that somebody deleted is made again.
    has_identity = pod is not None or conditions.is_true(agent.status.conditions, conditions.READY)
    actions = [] if has_identity and seen.heartbeat.lease is not None else identity(agent)
    verdict = witness.judge(agent, pod, seen.heartbeat, seen.settings.patience) if pod is not None else witness.WELL
    ended = session_status.unrecorded_end(seen, now)
    status, wakes = session_status.derive(seen, bead, ended, verdict, now)
    if session_status.is_about_to_run(seen, status, verdict, now):
        status = agent.status
        wakes.append(Wake(session_status.STARTING_SECONDS, reason="the session is about to run"))
    # A record that grew is news for people only: it waits for the agent's next change, which saves a write per bead, but not for ever.
    is_record_only = status != agent.status and replace(status, cv=agent.status.cv) == agent.status
    if is_record_only and (patience := session_status.record_may_wait(seen, now)) > 0:
        status = agent.status
        wakes.append(Wake(patience, reason="the record has grown"))
    tell = SetStatus(agent, status, roll_up=is_record_only, reason=f"{agent.status.phase or 'new'} -> {status.phase}")
    if pod is not None:
        return [*actions, tell, *_watched(seen, verdict, now), *_of_pod(seen, bead, pod, verdict, now), *wakes]
    why_not, wait = _why_no_session(seen, bead, status, now)
    if bead is not None and not why_not:
        # What becomes of the agent is told with the pod's uid on the next look, in one write; but an end is never left untold.
        return [*actions, *([tell] if ended is not None else []), _start(seen, bead)]
    if wait is not None:
        wakes.append(Wake(wait, reason=why_not))
    return [*actions, tell, *wakes]


def refused(seen: SessionSeen, problem: str, now: float) -> list[Action]:
    """What follows when the server did not take the session's pod: it counts as a lost session.

    Its profile makes the pod invalid, or names what the cluster has not. Tried for ever it would keep its agent, and so the capacity of
    its rig, from the work of others. A quota is another matter: it lets the pod in when others have gone.

    Args:
        problem: The server's words.
        now: Unix seconds.
    """
    bead = chosen_bead(seen.beads)
    if seen.pod is not None or bead is None or _QUOTA in problem:
        return []
    status = session_status.refused(seen.agent.status, bead.metadata.name, problem, now)
    return [SetStatus(seen.agent, status, reason="its pod was refused")]


def _watched(seen: SessionSeen, verdict: Verdict, now: float) -> list[Action]:
    """What follows from the verdict besides the status: an Event when it is new, a nudge, another look."""
    actions: list[Action] = []
    if verdict.reason:
        actions.append(Emit(seen.agent, WARNING, verdict.reason, verdict.message))
    if verdict.is_nudge_due and seen.heartbeat.lease is not None and seen.pod is not None:
        text = witness.nudge_text(seen.pod.metadata.uid, verdict, time_text(now))
        actions.append(PatchSpec(seen.heartbeat.lease, annotations={labels.NUDGE: text}, reason=verdict.message))
    if verdict.look_after is not None:
        actions.append(Wake(verdict.look_after, reason=verdict.reason or "its heartbeat is awaited"))
    return actions


def _of_pod(seen: SessionSeen, bead: Bead | None, pod: Pod, verdict: Verdict, now: float) -> list[Action]:
    if pod.metadata.deletionTimestamp:
        return []
    if session_end.is_over(pod):
        return [_delete(pod, "the session is over", None)]
    if verdict.is_lost:
        return [_delete(pod, verdict.message, SILENT_GRACE_SECONDS)]
    if why := why_stop(seen, bead, now):
        return [_delete(pod, why, GRACE_SECONDS)]
    return []


def chosen_bead(bound: tuple[Bead, ...]) -> Bead | None:
    """The bead an agent works on: the oldest binding of those that need a session."""
    return min((bead for bead in bound if needs_session(bead)), key=_binding_age, default=None)


def needs_session(bead: Bead) -> bool:
    """Whether a bound bead wants work done on it now."""
    held_off = (beads.PHASE_SUBMITTED, beads.PHASE_FAILED, beads.PHASE_PINNED, beads.PHASE_DEFERRED)
    return bead.spec.state == beads.OPEN and bead.status.phase not in held_off and not bead.metadata.deletionTimestamp


def _binding_age(bead: Bead) -> tuple[bool, str, str]:
    # hookedTime of an earlier binding stays until the new one is observed, so it counts only in the phases of a binding.
    hooked = bead.status.times.hookedTime if bead.status.phase in (beads.PHASE_HOOKED, beads.PHASE_WORKING) else ""
    return hooked == "", hooked, bead.metadata.name


def _why_no_session(seen: SessionSeen, bead: Bead | None, status: AgentStatus, now: float) -> tuple[str, float | None]:
    """Why no pod is created now ("" if one is), and after how many seconds the clock alone may change that."""
    if bead is None:
        return "no work", None
    if seen.agent.spec.suspend or seen.agent.spec.retired:
        return reasons.SUSPENDED, None
    if is_stopped(seen.town):
        return reasons.EMERGENCY_STOP, None
    if seen.rig is None:
        return reasons.NO_RIG, None
    if profiles.why_unusable(profiles.profile_name(bead, seen.agent, seen.rig, seen.town), seen.profiles):
        return reasons.NO_PROFILE, None
    session = status.session
    if session.lastOutcome == session_end.LOST and session.beadName == bead.metadata.name and bead.status.sessionUid != session.uid:
        return "the bead has not recorded the lost session yet", None
    ahead = seconds_since(session.nextStartTime, now)
    # No back-off is longer; one that seems so was written by a clock that has been set back since.
    if ahead is not None and -session_status.LONGEST_BACK_OFF_SECONDS <= ahead < 0:
        return reasons.BACK_OFF, -ahead
    return "", None


def _start(seen: SessionSeen, bead: Bead) -> Create:
    assert seen.rig is not None
    profile = seen.profiles[profiles.profile_name(bead, seen.agent, seen.rig, seen.town)]
    number = seen.agent.status.session.number + 1
    pod = session_pod(seen.agent, bead, seen.rig, profile, number, seen.settings)
    # Agent and bead are known by different watches, and a pod's name is free again once its session is over.
    provided = (Unchanged(seen.agent, ("status.session.uid",)), Unchanged(bead, BEAD_AT_START))
    return Create(pod, reason=f"session {number} on {bead.metadata.name}", provided=provided)


def _delete(pod: Pod, reason: str, grace_seconds: int | None) -> Delete:
    return Delete(kinds.POD, pod.metadata.namespace, pod.metadata.name, pod.metadata.uid, grace_seconds=grace_seconds, reason=reason)


def _is_recorded(seen: SessionSeen, pod: Pod) -> bool:
    """Whether nobody needs the finished pod any more."""
    bead = seen.pod_bead
    if bead is None or bead.status.sessionUid == pod.metadata.uid:
        return True
    return (bead.spec.assignee or bead.status.agentName) != seen.agent.metadata.name

"""Which pod should this agent have, and what is it doing? Pure.

The pod carries exactly the agent's name, so the API server itself allows one session at a time. Work on the hook starts at once: no
work, no pod. A finished pod is read into the agent's status, and deleted when its bead has recorded it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gastown.actions import Action, Create, Delete, SetStatus, Wake
from gastown.api import agent as agents
from gastown.api import bead as beads
from gastown.api import conditions, kinds, labels, reasons, town
from gastown.api.agent import Agent, AgentRecord, AgentSession, AgentStatus
from gastown.api.agent_profile import AgentProfile
from gastown.api.bead import Bead
from gastown.api.core import Pod
from gastown.api.meta import Condition
from gastown.api.names import display_actor
from gastown.api.rig import Rig
from gastown.api.town import Town
from gastown.decide import outcomes, profiles, session_end
from gastown.decide.agent_identity import identity
from gastown.decide.session_end import SessionEnd
from gastown.decide.session_pod import GRACE_SECONDS, SessionSettings, session_pod
from gastown.decide.times import seconds_since, time_text, unix_seconds
from gastown.decide.usage import added

# After sessions that failed: doubled for each further one, so that a broken image does not burn the town.
FIRST_BACK_OFF_SECONDS = 5
LONGEST_BACK_OFF_SECONDS = 300
# A session whose bead is submitted or closed ends by itself; after this time it is ended.
LINGER_SECONDS = 60.0
# Starting is not told apart from Working for sessions shorter than this: nobody could read it, and it costs a write.
SETTLE_SECONDS = 2.0
# How long a landing may be missing from its agent's record.
RECORD_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """All that bears on one agent's session.

    Attributes:
        beads: Those bound to it (spec.assignee).
        worked: Those whose last holder it is, for its record.
        pod: Of its name, if the operator made it.
        pod_bead: The bead that pod carries, if it still exists.
        rig: The one the agent belongs to.
    """

    agent: Agent
    settings: SessionSettings
    beads: tuple[Bead, ...] = ()
    worked: tuple[Bead, ...] = ()
    pod: Pod | None = None
    pod_bead: Bead | None = None
    rig: Rig | None = None
    town: Town | None = None
    profiles: Mapping[str, AgentProfile] = field(default_factory=dict)


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
    age = seconds_since(agent.metadata.creationTimestamp, now)
    if bead is None and not agent.status.phase and age is not None and age < SETTLE_SECONDS:
        return [Wake(SETTLE_SECONDS, reason="made for a binding that is about to be seen")]
    # Whoever has a pod has them, though its status may not say so yet.
    actions = [] if pod is not None or conditions.is_true(agent.status.conditions, conditions.READY) else identity(agent)
    ended = _unrecorded_end(seen, now)
    status, wakes = _derive(seen, bead, ended, now)
    # A record that grew is news for people only: it waits for the agent's next change, which saves a write per bead, but not for ever.
    is_record_only = status != agent.status and replace(status, cv=agent.status.cv) == agent.status
    if is_record_only and (patience := _record_may_wait(seen, now)) > 0:
        status = agent.status
        wakes.append(Wake(patience, reason="the record has grown"))
    tell = SetStatus(agent, status, roll_up=is_record_only, reason=f"{agent.status.phase or 'new'} -> {status.phase}")
    if pod is not None:
        return [tell, *_of_pod(seen, bead, pod, now), *wakes]
    why_not, wait = _why_no_session(seen, bead, status, now)
    if bead is not None and not why_not:
        # What becomes of the agent is told with the pod's uid on the next look, in one write; but an end is never left untold.
        return [*actions, *([tell] if ended is not None else []), _start(seen, bead)]
    if wait is not None:
        wakes.append(Wake(wait, reason=why_not))
    return [*actions, tell, *wakes]


def _of_pod(seen: SessionSeen, bead: Bead | None, pod: Pod, now: float) -> list[Action]:
    if session_end.is_over(pod):
        return [] if pod.metadata.deletionTimestamp else [_delete(pod, "the session is over")]
    if not pod.metadata.deletionTimestamp and (why := _why_stop(seen, bead, now)):
        return [_delete(pod, why)]
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
    if ahead is not None and ahead < 0:
        return reasons.BACK_OFF, -ahead
    return "", None


def _why_stop(seen: SessionSeen, bead: Bead | None, now: float) -> str:
    """Why a session that runs has to end; "" if it may go on."""
    if is_stopped(seen.town):
        return "emergency stop"
    if seen.agent.spec.retired or seen.agent.spec.suspend:
        return "the agent is retired" if seen.agent.spec.retired else "the agent is suspended"
    carried = seen.pod_bead
    if carried is None:
        return "its bead is gone"
    if bead is not None and bead.metadata.name == carried.metadata.name:
        return ""
    if (over := _over_since(carried, seen.agent.metadata.name)) is not None:
        age = seconds_since(over, now)
        return "" if age is None or age < LINGER_SECONDS else "its bead is done"
    return "its bead is no longer on this agent's hook"


def _over_since(bead: Bead, agent_name: str) -> str | None:
    """When the bead's work came to its proper end in this session, "" if just now; None if it did not."""
    status = bead.status
    if outcomes.is_closed(bead) and status.phase not in (beads.PHASE_CLOSED, beads.PHASE_LANDED):
        return ""  # until the closing is observed its time is that of an earlier one, and the agent perhaps an earlier one too
    if status.agentName != agent_name:
        return None
    if outcomes.is_closed(bead):
        return status.times.closedTime
    return status.times.submittedTime if status.phase == beads.PHASE_SUBMITTED else None


def is_stopped(town_: Town | None) -> bool:
    """Whether the town's emergency stop is on."""
    return town_ is not None and town_.spec.emergencyStop.mode == town.STOP_ON


def _start(seen: SessionSeen, bead: Bead) -> Create:
    assert seen.rig is not None
    profile = seen.profiles[profiles.profile_name(bead, seen.agent, seen.rig, seen.town)]
    number = seen.agent.status.session.number + 1
    pod = session_pod(seen.agent, bead, seen.rig, profile, number, seen.settings)
    return Create(pod, reason=f"session {number} on {bead.metadata.name}")


def _delete(pod: Pod, reason: str) -> Delete:
    grace = None if session_end.is_over(pod) else GRACE_SECONDS
    return Delete(kinds.POD, pod.metadata.namespace, pod.metadata.name, pod.metadata.uid, grace_seconds=grace, reason=reason)


def _is_recorded(seen: SessionSeen, pod: Pod) -> bool:
    """Whether nobody needs the finished pod any more."""
    bead = seen.pod_bead
    if bead is None or bead.status.sessionUid == pod.metadata.uid:
        return True
    return (bead.spec.assignee or bead.status.agentName) != seen.agent.metadata.name


def _derive(seen: SessionSeen, bead: Bead | None, ended: SessionEnd | None, now: float) -> tuple[AgentStatus, list[Wake]]:
    agent, pod, before = seen.agent, seen.pod, seen.agent.status
    wakes: list[Wake] = []
    status = replace(
        before,
        observedGeneration=agent.metadata.generation,
        displayName=display_actor(agent.spec.role, agent.spec.rigName, agent.metadata.name),
        beadName=bead.metadata.name if bead is not None else "",
    )
    if pod is not None and pod.metadata.uid != before.session.uid:
        status = replace(status, session=_begun(pod, before.session))
    if ended is not None:
        status = _with_end(status, ended, now)
    phase = _phase(seen, bead, now)
    if pod is not None and not session_end.is_over(pod):
        status = replace(status, beadName=session_end.bead_name(pod))
        if phase == agents.PHASE_STARTING and session_end.is_running(pod):
            wakes.append(Wake(SETTLE_SECONDS, reason="the session may be a short one"))
        if seen.pod_bead is not None and _over_since(seen.pod_bead, agent.metadata.name) is not None:
            wakes.append(Wake(LINGER_SECONDS, reason="the session should end by itself"))
    status = replace(status, phase=phase, conditions=_conditions(agent, now))
    return replace(status, cv=_record(seen, status.cv)), wakes


def _begun(pod: Pod, before: AgentSession) -> AgentSession:
    told = pod.metadata.labels.get(labels.SESSION, "")
    number = int(told) if told.isdigit() else before.number + 1
    return AgentSession(uid=pod.metadata.uid, beadName=session_end.bead_name(pod), number=number, startTime=pod.metadata.creationTimestamp)


def _unrecorded_end(seen: SessionSeen, now: float) -> SessionEnd | None:
    """The end of the present session, if it is not yet in the agent's status."""
    session, pod = seen.agent.status.session, seen.pod
    if pod is not None:
        if pod.metadata.uid == session.uid and session.lastEndTime:
            return None
        profile = seen.profiles.get(profiles.profile_name(seen.pod_bead, seen.agent, seen.rig, seen.town), AgentProfile())
        return session_end.end_of(pod, profile.spec.prices)
    if not session.uid or session.lastEndTime:
        return None
    if seen.agent.status.phase == agents.PHASE_STOPPING:
        return SessionEnd(session.uid, session_end.HANDOFF, "stopped on request", time=time_text(now))
    return SessionEnd(session.uid, session_end.LOST, "its pod disappeared without a result", time=time_text(now))


def _with_end(status: AgentStatus, ended: SessionEnd, now: float) -> AgentStatus:
    failures = 0 if ended.outcome in session_end.WELL_ENDED else status.attempts + 1
    back_off = min(LONGEST_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2 ** min(failures - 1, 10)) if failures else 0
    session = replace(
        status.session,
        lastOutcome=ended.outcome,
        lastMessage=ended.message,
        lastEndTime=ended.time or time_text(now),
        nextStartTime=time_text(now + back_off) if back_off else "",
    )
    cv = replace(status.cv, failedSessions=status.cv.failedSessions + (failures > 0))
    return replace(status, session=session, attempts=failures, cv=cv, usage=added(status.usage, ended.usage))


def _phase(seen: SessionSeen, bead: Bead | None, now: float) -> str:
    agent, pod = seen.agent, seen.pod
    if pod is None or session_end.is_over(pod):
        if agent.spec.retired:
            return agents.PHASE_RETIRED
        return agents.PHASE_SUSPENDED if agent.spec.suspend else agents.PHASE_IDLE
    if pod.metadata.deletionTimestamp or _why_stop(seen, bead, now):
        return agents.PHASE_STOPPING
    if not session_end.is_running(pod):
        return agents.PHASE_STARTING
    age = seconds_since(pod.metadata.creationTimestamp, now)
    is_new = agent.status.phase != agents.PHASE_WORKING and age is not None and age < SETTLE_SECONDS
    return agents.PHASE_STARTING if is_new else agents.PHASE_WORKING


def _conditions(agent: Agent, now: float) -> list[Condition]:
    ready = Condition(
        type=conditions.READY,
        status="True",
        reason=reasons.ACCEPTED,
        message="has its ServiceAccount and Lease",
        observedGeneration=agent.metadata.generation,
    )
    return conditions.with_condition(agent.status.conditions, ready, time_text(now))


def _record_may_wait(seen: SessionSeen, now: float) -> float:
    """For how many seconds a new landing may go untold."""
    times = (unix_seconds(bead.status.times.closedTime) for bead in seen.worked)
    newest = max((time for time in times if time is not None), default=0.0)
    return newest + RECORD_SECONDS - now


def _record(seen: SessionSeen, before: AgentRecord) -> AgentRecord:
    """The agent's CV from the beads still in the cluster; never less than was known before, for closed beads leave in time."""
    landed = sum(bead.status.phase == beads.PHASE_LANDED for bead in seen.worked)
    closed = sum(bead.status.phase == beads.PHASE_CLOSED and bead.spec.delivery == beads.DELIVERY_NONE for bead in seen.worked)
    reworks = sum(bead.status.reworks for bead in seen.worked)
    return AgentRecord(
        landed=max(before.landed, landed),
        closed=max(before.closed, closed),
        reworks=max(before.reworks, reworks),
        failedSessions=before.failedSessions,
    )

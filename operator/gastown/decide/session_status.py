"""The status of an agent: its phase, its session and how the last one ended, what the Witness thinks of it, its record. Pure."""

from __future__ import annotations

from dataclasses import replace

from gastown.actions import Wake
from gastown.api import agent as agents
from gastown.api import bead as beads
from gastown.api import conditions, labels, reasons
from gastown.api.agent import AgentRecord, AgentSession, AgentStatus
from gastown.api.agent_profile import AgentProfile
from gastown.api.bead import Bead
from gastown.api.core import Pod
from gastown.api.meta import Condition
from gastown.api.names import display_actor
from gastown.decide import profiles, session_end, witness
from gastown.decide.session_end import SessionEnd
from gastown.decide.session_seen import SessionSeen
from gastown.decide.session_stop import LINGER_SECONDS, over_since, why_stop
from gastown.decide.times import is_recent, time_text, unix_seconds
from gastown.decide.usage import added
from gastown.decide.witness import Verdict

# After sessions that failed: doubled for each further one, so that a broken image does not burn the town.
FIRST_BACK_OFF_SECONDS = 5
LONGEST_BACK_OFF_SECONDS = 300
# After a pod that was not taken: time to correct the profile, or for rights that are just being changed, before attempts are used up.
REFUSED_SECONDS = 60
# How long an agent may have just been made for a binding that is not seen yet.
SETTLE_SECONDS = 2.0
# A session that runs sooner is told once, as Working: nobody could read Starting, and it costs a write. Times in objects are whole
# seconds, so it has 2 s at least.
STARTING_SECONDS = 3.0
# How long a landing may be missing from its agent's record.
RECORD_SECONDS = 30.0


def derive(seen: SessionSeen, bead: Bead | None, ended: SessionEnd | None, verdict: Verdict, now: float) -> tuple[AgentStatus, list[Wake]]:
    """The status as it should be.

    Args:
        bead: The one the agent should work on.
        ended: An end that its status does not tell yet.
        verdict: Of the Witness, on the session in the pod.
        now: Unix seconds.
    """
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
    phase = _phase(seen, bead, verdict, now)
    if pod is not None and not session_end.is_over(pod):
        status = replace(status, beadName=session_end.bead_name(pod))
        if seen.pod_bead is not None and over_since(seen.pod_bead, agent.metadata.name) is not None:
            wakes.append(Wake(LINGER_SECONDS, reason="the session should end by itself"))
        if (wait := witness.overdue_after(pod, now)) is not None:
            wakes.append(Wake(wait, reason="its pod is being deleted"))
    status = replace(status, phase=phase, conditions=_conditions(seen, verdict, now))
    return replace(status, cv=_record(seen, status.cv)), wakes


def is_about_to_run(seen: SessionSeen, status: AgentStatus, verdict: Verdict, now: float) -> bool:
    """Whether a session that is not told yet has just begun, and all is well so far.

    Args:
        status: As it should be.
    """
    pod, told = seen.pod, seen.agent.status
    if pod is None or pod.metadata.uid == told.session.uid or status.phase != agents.PHASE_STARTING or verdict.reason:
        return False
    if told.phase in (agents.PHASE_STARTING, agents.PHASE_WORKING, agents.PHASE_STOPPING):
        return False  # of the session before; a reader would take this one for it
    return is_recent(pod.metadata.creationTimestamp, STARTING_SECONDS, now)


def unrecorded_end(seen: SessionSeen, now: float) -> SessionEnd | None:
    """The end of the present session, if it is not yet in the agent's status."""
    session, pod = seen.agent.status.session, seen.pod
    if pod is not None:
        if pod.metadata.uid == session.uid and session.lastEndTime:
            return None
        profile = seen.profiles.get(profiles.profile_name(seen.pod_bead, seen.agent, seen.rig, seen.town), AgentProfile())
        return session_end.end_of(pod, profile.spec.prices, witness.why_replaced(seen.agent, pod.metadata.uid))
    if not session.uid or session.lastEndTime:
        return None
    if replaced := witness.why_replaced(seen.agent, session.uid):
        return SessionEnd(session.uid, session_end.LOST, replaced, time=time_text(now))
    if seen.agent.status.phase == agents.PHASE_STOPPING:
        return SessionEnd(session.uid, session_end.HANDOFF, "stopped on request", time=time_text(now))
    return SessionEnd(session.uid, session_end.LOST, "its pod disappeared without a result", time=time_text(now))


def refused(before: AgentStatus, bead_name: str, problem: str, now: float) -> AgentStatus:
    """The status after the server did not take the pod of the next session: a session that was lost before it began.

    Args:
        problem: The server's words.
    """
    number = before.session.number + 1
    session = AgentSession(uid=f"refused-{number}", beadName=bead_name, number=number, startTime=time_text(now))
    message = f"its pod was refused, correct the AgentProfile: {problem}"[: session_end.MESSAGE_LIMIT]
    after = _with_end(replace(before, session=session), SessionEnd(session.uid, session_end.LOST, message, time=time_text(now)), now)
    back_off = max(REFUSED_SECONDS, back_off_seconds(session_end.LOST, after.attempts))
    return replace(after, session=replace(after.session, nextStartTime=time_text(now + back_off)))


def record_may_wait(seen: SessionSeen, now: float) -> float:
    """For how many seconds a new landing may go untold."""
    times = (unix_seconds(bead.status.times.closedTime) for bead in seen.worked)
    newest = max((time for time in times if time is not None), default=0.0)
    return newest + RECORD_SECONDS - now


def back_off_seconds(outcome: str, failures: int) -> int:
    """How long the next session waits after one that ended so.

    A session that was killed or lost says nothing against its bead or its profile: the first one is replaced at once.

    Args:
        failures: Sessions that failed or were lost in a row, this one included.
    """
    steps = failures - (outcome == session_end.LOST)
    return min(LONGEST_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2 ** min(steps - 1, 10)) if steps > 0 else 0


def _begun(pod: Pod, before: AgentSession) -> AgentSession:
    told = pod.metadata.labels.get(labels.SESSION, "")
    number = int(told) if told.isdigit() else before.number + 1
    return AgentSession(uid=pod.metadata.uid, beadName=session_end.bead_name(pod), number=number, startTime=pod.metadata.creationTimestamp)


def _with_end(status: AgentStatus, ended: SessionEnd, now: float) -> AgentStatus:
    failures = 0 if ended.outcome in session_end.WELL_ENDED else status.attempts + 1
    back_off = back_off_seconds(ended.outcome, failures)
    session = replace(
        status.session,
        lastOutcome=ended.outcome,
        lastMessage=ended.message,
        lastEndTime=ended.time or time_text(now),
        nextStartTime=time_text(now + back_off) if back_off else "",
    )
    cv = replace(status.cv, failedSessions=status.cv.failedSessions + (failures > 0))
    return replace(status, session=session, attempts=failures, cv=cv, usage=added(status.usage, ended.usage))


def _phase(seen: SessionSeen, bead: Bead | None, verdict: Verdict, now: float) -> str:
    agent, pod = seen.agent, seen.pod
    if pod is None or session_end.is_over(pod):
        if agent.spec.retired:
            return agents.PHASE_RETIRED
        return agents.PHASE_SUSPENDED if agent.spec.suspend else agents.PHASE_IDLE
    if pod.metadata.deletionTimestamp or verdict.is_lost or why_stop(seen, bead, now):
        return agents.PHASE_STOPPING
    return agents.PHASE_WORKING if session_end.is_running(pod) else agents.PHASE_STARTING


def _conditions(seen: SessionSeen, verdict: Verdict, now: float) -> list[Condition]:
    """Ready always; Suspect, Stalled and Zombie only while they hold."""
    overdue = seen.pod is not None and witness.is_overdue(seen.pod, now)
    where = seen.pod.spec.nodeName if seen.pod is not None else ""
    told = {
        conditions.READY: (reasons.ACCEPTED, "has its ServiceAccount and Lease"),
        conditions.SUSPECT: (verdict.reason if verdict.is_suspect else "", verdict.message),
        conditions.STALLED: (verdict.reason if verdict.reason == reasons.NO_PROGRESS else "", verdict.message),
        conditions.ZOMBIE: (
            reasons.NODE_LOST if overdue else "",
            f"its pod was deleted, but node {where} does not say that it ended; its bead goes to another agent. If the node is "
            f"gone for good: kubectl delete node {where}",
        ),
    }
    found = list(seen.agent.status.conditions)
    for type_, (reason, message) in told.items():
        if reason:
            wanted = Condition(type=type_, status="True", reason=reason, message=message, observedGeneration=seen.agent.metadata.generation)
            found = conditions.with_condition(found, wanted, time_text(now))
        else:
            found = conditions.without_condition(found, type_)
    return found


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

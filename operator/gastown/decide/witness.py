"""Alive, silent, hung, or never started: what is to be thought of a session? Pure; asked by session, and by bead for how one ended.

Times are seconds since the operator itself saw something change, on its own monotonic clock: it never compares its clock with that
of a pod's machine, and a fresh operator, which saw nothing yet, gives everybody a whole new patience. What a silent session is told
(the nudge) lies on its Lease, so that it gets it with the answer to its next heartbeat.
"""

from __future__ import annotations

from dataclasses import dataclass

from gastown.api import conditions, labels, reasons
from gastown.api.agent import Agent
from gastown.api.core import Lease, Pod
from gastown.decide.session_end import AGENT_CONTAINER, is_over, is_running
from gastown.decide.times import seconds_since

# A pod that outlives its deletion time by this much sits on a lost node: its bead goes to another agent.
LOST_NODE_SECONDS = 120.0
# A pod that starts within this time needs no explanation.
EXPLAINED_AFTER_SECONDS = 10.0
# While it is not yet certain that a nudge arrived.
_LOOK_AGAIN_SECONDS = 5.0
_SOON_SECONDS = 0.05
_PROBLEM_LIMIT = 512


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a session may keep still, in seconds.

    Attributes:
        silent: Without a heartbeat until it is suspected and nudged: three missed ones.
        answer: After the nudge until it is replaced.
        still: With heartbeats, but without any sign of work by the agent's processes, until it is told as stalled and nudged.
        start: From the making of its pod until its agent runs.
    """

    silent: float = 90.0
    answer: float = 60.0
    still: float = 900.0
    start: float = 600.0

    @property
    def heartbeat(self) -> float:
        """How often a session has to be heard."""
        return self.silent / 3


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What was seen of a session's signs of life.

    Attributes:
        lease: Of the agent; None if somebody deleted it.
        age: Seconds since its pod was first seen.
        silent: Seconds since the last heartbeat of this very session, or since it was seen to run.
        is_told_silent: Whether the nudge for the present silence is on the Lease.
        nudged: Seconds since it was seen there; None as long as it is not certain that an answer would be heard.
        still: Seconds since the agent's processes gave a sign of work; None if the session tells nothing about that.
        is_told_still: Whether the nudge for the present stillness is on the Lease.
    """

    lease: Lease | None = None
    age: float = 0.0
    silent: float = 0.0
    is_told_silent: bool = False
    nudged: float | None = None
    still: float | None = None
    is_told_still: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is thought of a session.

    Attributes:
        reason: "" while all is well, else HeartbeatMissed, NotStarting, NoProgress or Replaced.
        message: For people.
        is_nudge_due: The session is to be told.
        look_after: Seconds after which the clock alone may change this; None if it can not.
    """

    reason: str = ""
    message: str = ""
    is_nudge_due: bool = False
    look_after: float | None = None

    def __post_init__(self) -> None:
        if self.look_after is not None and self.look_after < _SOON_SECONDS:
            # The difference of two clocks may be too small to move either.
            object.__setattr__(self, "look_after", _SOON_SECONDS)

    @property
    def is_suspect(self) -> bool:
        """Whether it is not known to be alive."""
        return self.reason in (reasons.HEARTBEAT_MISSED, reasons.NOT_STARTING, reasons.REPLACED)

    @property
    def is_lost(self) -> bool:
        """Whether its pod is to be replaced."""
        return self.reason == reasons.REPLACED


WELL = Verdict()


def judge(agent: Agent, pod: Pod, beat: Heartbeat, patience: Patience) -> Verdict:
    """What is thought of the session in this pod.

    Args:
        agent: As seen; what was decided about this session before is in its conditions.
    """
    if is_over(pod):
        return WELL
    if before := why_replaced(agent, pod.metadata.uid):
        return Verdict(reasons.REPLACED, before)  # decided and recorded; a late heartbeat does not bring it back
    if pod.metadata.deletionTimestamp:
        return WELL
    if not is_running(pod):
        return _starting(agent, pod, beat, patience)
    if beat.silent < patience.silent:
        return _beating(beat, patience)
    if beat.nudged is not None and beat.nudged >= patience.answer:
        told = f"no heartbeat for {patience.silent + patience.answer:g} s, and no answer to a nudge; its session was replaced"
        return Verdict(reasons.REPLACED, told)
    told = f"no heartbeat for {patience.silent:g} s; nudged, and replaced if it stays silent for {patience.answer:g} s more"
    wait = _LOOK_AGAIN_SECONDS if beat.nudged is None else patience.answer - beat.nudged
    return Verdict(reasons.HEARTBEAT_MISSED, told, is_nudge_due=not beat.is_told_silent, look_after=min(wait, patience.answer))


def why_replaced(agent: Agent | None, session_uid: str) -> str:
    """Why the Witness ended this session, as recorded before it did so; "" if it did not."""
    if agent is None or agent.status.session.uid != session_uid:
        return ""
    found = conditions.find_condition(agent.status.conditions, conditions.SUSPECT)
    return found.message if found is not None and found.status == "True" and found.reason == reasons.REPLACED else ""


def nudge_text(session_uid: str, verdict: Verdict, time: str) -> str:
    """What the Lease carries as a nudge: for which session, why, when, and the words for it."""
    return f"{session_uid} {verdict.reason} {time} {verdict.message}"


def nudge_reason(text: str, session_uid: str) -> str:
    """Why this session was nudged; "" if the nudge is none, or meant for another session."""
    uid, _, rest = text.partition(" ")
    return rest.partition(" ")[0] if uid == session_uid else ""


def is_overdue(pod: Pod, now: float) -> bool:
    """Whether a pod should be gone since long: nobody can say whether it still runs.

    Args:
        now: Unix seconds.
    """
    overdue = seconds_since(pod.metadata.deletionTimestamp, now)
    return overdue is not None and overdue > LOST_NODE_SECONDS and not is_over(pod)


def overdue_after(pod: Pod, now: float) -> float | None:
    """Seconds until a pod that is being deleted will be overdue; None if it is not, or is already.

    Args:
        now: Unix seconds.
    """
    since = seconds_since(pod.metadata.deletionTimestamp, now)
    if since is None or since > LOST_NODE_SECONDS or is_over(pod):
        return None
    return LOST_NODE_SECONDS - since + 1.0  # times in objects are whole seconds


def checkpoint(lease: Lease | None, session_uid: str) -> str:
    """The newest checkpoint that this session told with its heartbeat, 40 hex digits or "".

    A session that is killed leaves no last word, and its bead would go on from an older one.
    """
    if lease is None or lease.spec.holderIdentity != session_uid:
        return ""
    told = lease.metadata.annotations.get(labels.CHECKPOINT, "")
    return told if len(told) == 40 and set(told) <= set("0123456789abcdef") else ""


def why_not_started(pod: Pod) -> str:
    """What Kubernetes says keeps the pod from running; "" if it says nothing."""
    for status in (*pod.status.initContainerStatuses, *pod.status.containerStatuses):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason not in ("", "PodInitializing", "ContainerCreating"):
            return f"container {status.name}: {waiting.reason}: {waiting.message}"[:_PROBLEM_LIMIT].rstrip(": ")
    scheduled = next((told for told in pod.status.conditions if told.type == "PodScheduled"), None)
    if scheduled is not None and scheduled.status == "False":
        return f"{scheduled.reason}: {scheduled.message}"[:_PROBLEM_LIMIT].rstrip(": ")
    return ""


def _starting(agent: Agent, pod: Pod, beat: Heartbeat, patience: Patience) -> Verdict:
    problem = why_not_started(pod) or _slow_step(pod)
    if beat.age >= patience.start:
        return Verdict(reasons.REPLACED, f"not started within {patience.start:g} s: {problem}; its pod was replaced")
    left = patience.start - beat.age
    if beat.age < min(EXPLAINED_AFTER_SECONDS, patience.start):
        return Verdict(look_after=min(EXPLAINED_AFTER_SECONDS - beat.age, left))
    if not why_not_started(pod):
        return Verdict(look_after=left)
    # The words of Kubernetes change with each of its attempts; each change would be a write.
    before = conditions.find_condition(agent.status.conditions, conditions.SUSPECT)
    if before is not None and before.reason == reasons.NOT_STARTING and agent.status.session.uid == pod.metadata.uid:
        return Verdict(reasons.NOT_STARTING, before.message, look_after=left)
    return Verdict(reasons.NOT_STARTING, f"{problem}; its pod is replaced after {patience.start:g} s", look_after=left)


def _slow_step(pod: Pod) -> str:
    if not pod.spec.nodeName:
        return "no node took it, and the scheduler does not say why"
    running = next((status.name for status in pod.status.initContainerStatuses if status.state.running is not None), "")
    return f"container {running} does not end" if running else f"node {pod.spec.nodeName} does not start container {AGENT_CONTAINER}"


def _beating(beat: Heartbeat, patience: Patience) -> Verdict:
    left = patience.silent - beat.silent
    if beat.still is None or patience.still <= 0:
        return Verdict(look_after=left)
    if beat.still < patience.still:
        return Verdict(look_after=min(left, patience.still - beat.still))
    message = f"its heartbeat comes, but its agent gave no sign of work for {patience.still:g} s; nudged. It ends at the session's timeout"
    return Verdict(reasons.NO_PROGRESS, message, is_nudge_due=not beat.is_told_still, look_after=left)

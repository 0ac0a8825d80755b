"""How a session ended, read from its pod: the termination message of the harness, or what Kubernetes says instead.

The words of the session are claims: they are recorded and counted, but whether a bead is submitted, landed or closed is decided from
API objects alone. Pure; used by the deciders of bead and session, which must agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gastown.api import agent as agents
from gastown.api import labels
from gastown.api.agent_profile import Prices
from gastown.api.core import ContainerStateTerminated, Pod
from gastown.api.text import plain_lines
from gastown.api.usage import Usage
from gastown.decide import usage
from gastown.decide.times import unix_seconds

AGENT_CONTAINER = "agent"

SUBMITTED, HANDOFF, FAILED = agents.OUTCOME_SUBMITTED, agents.OUTCOME_HANDOFF, agents.OUTCOME_FAILED
NO_CHANGE, CLOSED, LOST = agents.OUTCOME_NO_CHANGE, agents.OUTCOME_CLOSED, agents.OUTCOME_LOST
_OUTCOMES = frozenset({SUBMITTED, HANDOFF, FAILED, NO_CHANGE, CLOSED})
# Outcomes after which the next session starts at once and the bead's attempts are not touched.
WELL_ENDED = frozenset({SUBMITTED, HANDOFF, CLOSED})

MESSAGE_LIMIT = 1024
# As `polecat.init` calls it.
HARNESS_KILLED = "HarnessKilled"
_KILLED = 128 + 9
_TAIL_CHARACTERS = 800
_OBJECT_ID = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """The end of one session.

    Attributes:
        uid: Of its pod.
        outcome: Submitted, Handoff, Failed, NoChange, Closed or Lost.
        head: Newest commit the session pushed (submitted or checkpointed), 40 hex digits or "".
        time: When, RFC 3339.
        exit_code: Of the agent's container; 0 where there was none.
    """

    uid: str
    outcome: str
    message: str = ""
    merge_request_name: str = ""
    head: str = ""
    time: str = ""
    exit_code: int = 0
    usage: Usage = field(default_factory=Usage)


def is_over(pod: Pod) -> bool:
    """Whether the session in this pod has ended; a pod that is being deleted has not until its container is gone."""
    return pod.status.phase in ("Succeeded", "Failed") or _terminated(pod) is not None


def is_running(pod: Pod) -> bool:
    """Whether the agent's container runs now."""
    return pod.status.phase == "Running" and not is_over(pod)


def bead_name(pod: Pod) -> str:
    """The bead this session works on: fixed for the pod's life."""
    return pod.metadata.labels.get(labels.BEAD, "")


def end_of(pod: Pod, prices: Prices, replaced: str = "") -> SessionEnd | None:
    """How the session ended; None while it has not.

    Args:
        prices: Of the profile it ran with.
        replaced: Why the Witness ended it; "" if it did not.
    """
    if not is_over(pod):
        return None
    ended = _terminated(pod) or ContainerStateTerminated()
    told = _message(ended)
    outcome, text = _outcome(pod, ended, told)
    if replaced and outcome == HANDOFF:  # it stopped because it was told to, and it was told because it was as good as dead
        outcome, text = LOST, f"{replaced}; its last words: {text}"
    return SessionEnd(
        uid=pod.metadata.uid,
        outcome=outcome,
        message=plain_lines(text[:MESSAGE_LIMIT])[:MESSAGE_LIMIT],
        merge_request_name=_text(told, "mergeRequest"),
        head=_commit(told, "head") or _commit(told, "checkpoint"),
        time=ended.finishedAt or pod.status.startTime or pod.metadata.creationTimestamp,
        exit_code=ended.exitCode,
        usage=usage.of_session(_usage(told), prices, _wall_seconds(pod, ended)),
    )


def _outcome(pod: Pod, ended: ContainerStateTerminated, told: Mapping[str, Any]) -> tuple[str, str]:
    claimed = _text(told, "outcome")
    if claimed in _OUTCOMES:
        words = ": ".join(part for part in (_text(told, "reason"), _text(told, "message")) if part)
        # Then PID 1 speaks for a harness that was killed: nobody said how the work went.
        return (LOST if _text(told, "reason") == HARNESS_KILLED else claimed), words
    if pod.metadata.deletionTimestamp:
        return HANDOFF, "stopped on request before it could tell its result"
    init = next((status for status in pod.status.initContainerStatuses if _failed(status.state.terminated)), None)
    if init is not None and init.state.terminated is not None:
        return FAILED, f"init container {init.name} exited with {init.state.terminated.exitCode}: {init.state.terminated.message.strip()}"
    if pod.status.reason:
        return LOST, f"{pod.status.reason}: {pod.status.message}"
    what = f"{ended.reason or 'Error'}: exit code {ended.exitCode} without a result"
    if ended.message.strip():  # the end of its log: Kubernetes keeps that when there is no message
        what += f"; last lines:\n{ended.message.strip()[-_TAIL_CHARACTERS:]}"
    else:
        what += f"; see kubectl logs {pod.metadata.name}"
    # From outside, and nobody knows by whom; an agent that eats its memory is a failure, or it would be started again at once.
    is_killed = ended.exitCode == _KILLED and ended.reason != "OOMKilled"
    return (LOST if is_killed else FAILED), what


def _failed(state: ContainerStateTerminated | None) -> bool:
    return state is not None and state.exitCode != 0


def _terminated(pod: Pod) -> ContainerStateTerminated | None:
    return next((status.state.terminated for status in pod.status.containerStatuses if status.name == AGENT_CONTAINER), None)


def _message(ended: ContainerStateTerminated) -> dict[str, Any]:
    try:
        told = json.loads(ended.message)
    except (ValueError, RecursionError):  # the latter by "[[[[...": a session must not stop the decider of its bead
        return {}
    return told if isinstance(told, dict) else {}


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    # JSON may spell half a surrogate pair, which no writer can encode: the status would never be written.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else ""


def _commit(told: Mapping[str, Any], name: str) -> str:
    value = _text(told, name)
    return value if _OBJECT_ID.fullmatch(value) else ""


def _usage(told: Mapping[str, Any]) -> Mapping[str, Any]:
    value = told.get("usage")
    return value if isinstance(value, dict) else {}


def _wall_seconds(pod: Pod, ended: ContainerStateTerminated) -> int:
    begin = unix_seconds(ended.startedAt or pod.status.startTime)
    end = unix_seconds(ended.finishedAt)
    return int(end - begin) if begin is not None and end is not None else 0

"""What the refinery says about MergeRequests and Rigs, as server-side applies of its own fields only. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gastown.actions import Apply
from gastown.api import conditions, reasons
from gastown.api import merge_request as mr_api
from gastown.api.codec import to_dict
from gastown.api.conditions import find_condition, with_condition
from gastown.api.merge_request import GateResult, MergeRequest, MergeRequestStatus
from gastown.api.meta import Condition
from gastown.api.rig import Rig, RigHead, RigQueue

MANAGER = "gastown-refinery"
# Condition Verified is the operator's.
OWN_CONDITIONS = frozenset({conditions.READY, conditions.HEAD_PINNED, conditions.LANDED, conditions.PUBLISHED})
LOG_TAIL_LIMIT = 4096


def apply_merge_request(seen: MergeRequest, status: MergeRequestStatus, reason: str) -> Apply | None:
    """The apply that brings our fields of a MergeRequest's status to `status`; None when they are so already."""
    wanted = _own_part(status)
    if wanted == _own_part(seen.status):
        return None
    body = {
        "apiVersion": seen.apiVersion,
        "kind": seen.kind,
        "metadata": {"name": seen.metadata.name, "namespace": seen.metadata.namespace},
        "status": wanted,
    }
    return Apply(body, MANAGER, subresource="status", reason=reason)


def apply_rig(seen: Rig, head: RigHead, queue: RigQueue, repository_ready: Condition, now_time: str) -> Apply | None:
    """The apply of a Rig's head, queue and condition RepositoryReady; None when they are so already."""
    own = [condition for condition in seen.status.conditions if condition.type == conditions.REPOSITORY_READY]
    after = with_condition(own, replace(repository_ready, type=conditions.REPOSITORY_READY), now_time)
    if (head, queue, after) == (seen.status.head, seen.status.queue, own):
        return None
    body = {
        "apiVersion": seen.apiVersion,
        "kind": seen.kind,
        "metadata": {"name": seen.metadata.name, "namespace": seen.metadata.namespace},
        "status": {"head": to_dict(head), "queue": to_dict(queue), "conditions": to_dict(after)},
    }
    return Apply(body, MANAGER, subresource="status", reason=f"main is at {head.commit[:12] or 'nothing'}, {queue.length} queued")


def pinned(seen: MergeRequest, changed_paths: int, now_time: str) -> MergeRequestStatus:
    """The head is kept under refs/mr/<name>; the operator may verify now."""
    message = f"{seen.spec.head} is kept as refs/mr/{seen.metadata.name}; {changed_paths} paths change"
    status = replace(seen.status, phase=mr_api.PHASE_VERIFYING, changedPaths=changed_paths, observedGeneration=seen.metadata.generation)
    return _said(seen, status, now_time, (conditions.HEAD_PINNED, "True", reasons.PINNED_HEAD, message))


def not_pinned(seen: MergeRequest, reason: str, message: str, now_time: str) -> MergeRequestStatus:
    """The head can not be taken in (yet)."""
    status = replace(seen.status, phase=mr_api.PHASE_PENDING, observedGeneration=seen.metadata.generation)
    return _said(seen, status, now_time, (conditions.HEAD_PINNED, "False", reason, message))


def waiting(seen: MergeRequest, position: int, now_time: str) -> MergeRequestStatus:
    """In the queue; position 1 is next."""
    status = replace(seen.status, phase=mr_api.PHASE_QUEUED, position=position, candidate="")
    return _said(seen, status, now_time, (conditions.LANDED, "False", reasons.QUEUED, f"position {position} in the queue"))


def gating(seen: MergeRequest, candidate: str, position: int, gate_run: str, now_time: str) -> MergeRequestStatus:
    """Its candidate is being tested."""
    status = replace(seen.status, phase=mr_api.PHASE_GATING, position=position, candidate=candidate)
    return _said(seen, status, now_time, (conditions.LANDED, "False", reasons.GATING, f"gates run on {candidate[:12]} as {gate_run}"))


def held(seen: MergeRequest, reason: str, message: str, now_time: str) -> MergeRequestStatus:
    """Taken out of the queue until a person acts."""
    status = replace(seen.status, phase=mr_api.PHASE_HELD, position=0)
    return _said(seen, status, now_time, (conditions.LANDED, "False", reason, message))


def over(
    seen: MergeRequest,
    phase: str,
    reason: str,
    message: str,
    now_time: str,
    results: Sequence[GateResult] = (),
    conflict: mr_api.MergeConflict | None = None,
    evidence: mr_api.Evidence | None = None,
) -> MergeRequestStatus:
    """Rejected, Conflicted or Superseded, with the evidence."""
    told = [_bounded(result) for result in results]
    status = replace(seen.status, phase=phase, position=0, gateResults=told, conflict=conflict, evidence=evidence)
    return _said(seen, status, now_time, (conditions.LANDED, "False", reason, message), (conditions.READY, "True", reason, message))


def landed(
    seen: MergeRequest, commit: str, evidence: mr_api.Evidence | None, results: Sequence[GateResult], now_time: str
) -> MergeRequestStatus:
    """Main contains the head."""
    status = replace(
        seen.status,
        phase=mr_api.PHASE_LANDED,
        position=0,
        landedCommit=commit,
        landedTime=seen.status.landedTime or now_time,
        evidence=evidence or seen.status.evidence,
        gateResults=[_bounded(result) for result in results] or seen.status.gateResults,
    )
    message = f"{seen.spec.target} contains {seen.spec.head} since {commit}"
    return _said(
        seen, status, now_time, (conditions.LANDED, "True", reasons.LANDED, message), (conditions.READY, "True", reasons.LANDED, message)
    )


def published(seen: MergeRequest, status: MergeRequestStatus, said: tuple[str, str, str], now_time: str) -> MergeRequestStatus:
    """Adds condition Published.

    Args:
        said: status ("True", "False", "Unknown"), reason, message.
    """
    return _said(seen, status, now_time, (conditions.PUBLISHED, *said))


def is_pinned(seen: MergeRequest) -> bool:
    """Whether intake is done."""
    found = find_condition(seen.status.conditions, conditions.HEAD_PINNED)
    return found is not None and found.status == "True"


def is_over(seen: MergeRequest) -> bool:
    """Whether nothing more will happen to it in the queue."""
    return seen.status.phase == mr_api.PHASE_LANDED or seen.status.phase in mr_api.OVER_WITHOUT_LANDING


def _said(seen: MergeRequest, status: MergeRequestStatus, now_time: str, *told: tuple[str, str, str, str]) -> MergeRequestStatus:
    found = list(status.conditions)
    for type_, value, reason, message in told:
        wanted = Condition(type=type_, status=value, reason=reason, message=message, observedGeneration=seen.metadata.generation)
        found = with_condition(found, wanted, now_time)
    return replace(status, conditions=found)


def _own_part(status: MergeRequestStatus) -> dict[str, Any]:
    own = [condition for condition in status.conditions if condition.type in OWN_CONDITIONS]
    part: dict[str, Any] = to_dict(replace(status, actor="", conditions=own))
    return part


def _bounded(result: GateResult) -> GateResult:
    return replace(result, logTail=result.logTail[-LOG_TAIL_LIMIT:])

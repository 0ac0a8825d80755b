"""What a bead keeps of a submission that came back: the evidence for the next session, and in short what was tried before. Pure."""

from __future__ import annotations

from dataclasses import replace

from gastown.api import conditions, merge_request, reasons
from gastown.api.bead import BeadStatus, EarlierRework, Rework
from gastown.api.merge_request import MergeRequest
from gastown.decide.times import time_text

# As the CRD bounds the evidence.
FILES_LIMIT = 200
HUNKS_LIMIT = 16
EARLIER_LIMIT = 16
# Condition that tells why, by reason; what happened and what to do next is written once, by whoever set it. For all other reasons the
# head was not taken in.
_TOLD_BY = {
    reasons.REJECTED: conditions.LANDED,
    reasons.CONFLICTED: conditions.LANDED,
    reasons.EMPTY_CHANGE: conditions.VERIFIED,
}


def evidence_of(mr: MergeRequest, reason: str, now: float) -> Rework:
    """What the next session needs to know about the return.

    Args:
        reason: Why it came back, as `delivery.why_returned` tells it.
        now: Unix seconds.
    """
    red = next((gate for gate in mr.status.gateResults if gate.verdict == "Failed"), None)
    conflict = mr.status.conflict or merge_request.MergeConflict()
    run = mr.status.evidence if mr.status.evidence is not None and reason == reasons.REJECTED else merge_request.Evidence()
    told = conditions.find_condition(mr.status.conditions, _TOLD_BY.get(reason, conditions.HEAD_PINNED))
    return Rework(
        reason=reason,
        mergeRequestName=mr.metadata.name,
        base=conflict.base or run.base,
        head=mr.spec.head,
        candidate=run.candidate,
        tree=run.tree,
        files=list(conflict.files[:FILES_LIMIT]),
        hunks=list(conflict.hunks[:HUNKS_LIMIT]),
        gate=red.name if red is not None else "",
        exitCode=red.exitCode if red is not None else 0,
        logTail=red.logTail if red is not None else "",
        message=told.message if told is not None else "",
        time=time_text(now),
    )


def with_rework(status: BeadStatus, rework: Rework) -> BeadStatus:
    """The status with one more return: the newest with all its evidence, those before it in short."""
    return replace(done_with(status), reworks=status.reworks + 1, lastRework=rework)


def done_with(status: BeadStatus) -> BeadStatus:
    """The status in which the last return is history: another came, or the work landed since and the bead was opened again."""
    if status.lastRework is None:
        return status
    return replace(status, lastRework=None, earlierReworks=[*status.earlierReworks, _in_short(status.lastRework)][-EARLIER_LIMIT:])


def is_recorded(status: BeadStatus, merge_request_name: str) -> bool:
    """Whether the return of that MergeRequest is among those the bead keeps."""
    last = status.lastRework
    if last is not None and last.mergeRequestName == merge_request_name:
        return True
    return any(earlier.mergeRequestName == merge_request_name for earlier in status.earlierReworks)


def _in_short(rework: Rework) -> EarlierRework:
    return EarlierRework(
        reason=rework.reason,
        mergeRequestName=rework.mergeRequestName,
        base=rework.base,
        head=rework.head,
        gate=rework.gate,
        time=rework.time,
    )

"""May this MergeRequest enter the merge queue? Condition Verified, from API facts only. Pure.

What the session says of its work decides nothing. A verdict stays: only a bead that went to another agent, was closed, or submitted
anew takes it back, and only while the request is under way.
"""

from __future__ import annotations

from dataclasses import dataclass

from gastown.actions import Action, Apply
from gastown.api import conditions, reasons
from gastown.api.bead import Bead
from gastown.api.codec import to_dict
from gastown.api.merge_request import MergeRequest
from gastown.api.meta import Condition
from gastown.decide import delivery, outcomes
from gastown.decide.times import time_text

FIELD_MANAGER = "gastown-operator"


@dataclass(frozen=True, slots=True)
class MergeRequestSeen:
    """All that bears on one MergeRequest.

    Attributes:
        bead: The one it is for; None if it does not exist.
        others: Other MergeRequests of that bead.
    """

    merge_request: MergeRequest
    bead: Bead | None = None
    others: tuple[MergeRequest, ...] = ()


def decide(seen: MergeRequestSeen, now: float) -> list[Action]:
    """Set condition Verified once the refinery has pinned the head; nothing before that, and nothing when all is over.

    Args:
        now: Unix seconds.
    """
    mr = seen.merge_request
    if mr.metadata.deletionTimestamp or delivery.is_over(mr) or not conditions.is_true(mr.status.conditions, conditions.HEAD_PINNED):
        return []
    reason, message = _finding(seen)
    wanted = Condition(
        type=conditions.VERIFIED,
        status="True" if reason == reasons.VERIFIED else "False",
        reason=reason,
        message=message,
        observedGeneration=mr.metadata.generation,
    )
    before = conditions.find_condition(mr.status.conditions, conditions.VERIFIED)
    told = conditions.with_condition([before] if before is not None else [], wanted, time_text(now))
    if before is not None and told == [before]:
        return []
    # As JSON, not as a dataclass: its counters at 0 would become ours.
    owned = {
        "apiVersion": mr.apiVersion,
        "kind": mr.kind,
        "metadata": {"name": mr.metadata.name, "namespace": mr.metadata.namespace},
        "status": {"conditions": to_dict(told)},
    }
    return [Apply(owned, FIELD_MANAGER, seen=mr, subresource="status", reason=reason)]


def _finding(seen: MergeRequestSeen) -> tuple[str, str]:
    mr, bead = seen.merge_request, seen.bead
    if bead is None:
        return reasons.UNKNOWN_BEAD, f"Bead {mr.spec.beadName} does not exist"
    if outcomes.is_closed(bead):
        return reasons.BEAD_CLOSED, f"Bead {mr.spec.beadName} is closed: {bead.spec.closeReason}"
    newer = [other for other in seen.others if delivery.age_key(other) > delivery.age_key(mr) and other.spec.agentName == mr.spec.agentName]
    if newer:
        # The newest, not whichever is seen last: a message that changes is a write.
        return reasons.SUPERSEDED, f"{max(newer, key=delivery.age_key).metadata.name} is newer"
    was_verified = conditions.is_true(mr.status.conditions, conditions.VERIFIED)
    held_by = bead.spec.assignee
    if held_by != mr.spec.agentName and not (was_verified and not held_by):
        text = f"{mr.spec.agentName} does not hold {mr.spec.beadName}; {held_by or 'nobody'} does"
        return reasons.WRONG_AGENT, text
    if mr.status.changedPaths <= 0:
        return reasons.EMPTY_CHANGE, "the head changes nothing against its target; commit something, or set delivery None on the bead"
    return reasons.VERIFIED, f"{mr.spec.agentName} holds {mr.spec.beadName}, and {mr.status.changedPaths} paths change"

"""Where a bead's work is on its way to main, judged by its MergeRequests alone. Pure; used by bead, merge_request and dispatch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gastown.api import conditions, merge_request, reasons
from gastown.api.bead import Bead
from gastown.api.merge_request import MergeRequest
from gastown.decide import rework
from gastown.decide.times import seconds_since

# The refinery may need a while for a head whose push it has not seen; after this time the work goes back.
UNPINNED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """The MergeRequests of a bead that matter now.

    Attributes:
        current: On its way; the bead is Submitted.
        returned: The newest one came back (rejected, conflicted, empty) and that is not yet counted.
        landed: Newly on main: not yet among the bead's landed commits, oldest first.
    """

    current: MergeRequest | None = None
    returned: MergeRequest | None = None
    landed: tuple[MergeRequest, ...] = ()


def delivery_of(bead: Bead, merge_requests: Iterable[MergeRequest], now: float) -> Delivery:
    """What the bead's MergeRequests say.

    Args:
        merge_requests: All of this bead, in any order.
        now: Unix seconds.
    """
    newest_first = sorted(merge_requests, key=age_key, reverse=True)
    landed = tuple(mr for mr in reversed(newest_first) if is_landed(mr) and mr.status.landedCommit not in bead.status.landedCommits)
    current = next((mr for mr in newest_first if is_under_way(mr) and _counts(bead, mr) and not why_returned(mr, now)), None)
    returned = None
    of_the_bead = [mr for mr in newest_first if not _is_strangers(bead, mr)]
    if current is None and not landed and of_the_bead:
        # Times have whole seconds: of two requests of the same one the name tells no age, and the newer must not be lost.
        latest = [mr for mr in of_the_bead if mr.metadata.creationTimestamp == of_the_bead[0].metadata.creationTimestamp]
        returned = next((mr for mr in latest if why_returned(mr, now) and not rework.is_recorded(bead.status, mr.metadata.name)), None)
    return Delivery(current=current, returned=returned, landed=landed)


def age_key(mr: MergeRequest) -> tuple[str, int, str]:
    """Sorts the requests of one bead by age: RFC 3339 in UTC sorts as text, but knows whole seconds only.

    Within a second what came back was there before what is on its way, since nobody hands in anew before; the name decides the rest.
    """
    stage = 2 if is_landed(mr) else 1 if is_under_way(mr) else 0
    return mr.metadata.creationTimestamp, stage, mr.metadata.name


def is_landed(mr: MergeRequest) -> bool:
    """Whether main contains its head, with the commit that brought it there."""
    told = mr.status.phase == merge_request.PHASE_LANDED or conditions.is_true(mr.status.conditions, conditions.LANDED)
    return told and mr.status.landedCommit != ""


def is_over(mr: MergeRequest) -> bool:
    """Whether nothing will happen with it any more."""
    return mr.status.phase in merge_request.OVER_WITHOUT_LANDING or mr.status.phase == merge_request.PHASE_LANDED or is_landed(mr)


def is_under_way(mr: MergeRequest) -> bool:
    """Not over, and not found wanting."""
    return not is_over(mr) and not conditions.is_false(mr.status.conditions, conditions.VERIFIED)


def why_returned(mr: MergeRequest, now: float) -> str:
    """The reason for which the work goes back to the bead; "" if it does not.

    Args:
        now: Unix seconds.
    """
    if mr.status.phase == merge_request.PHASE_REJECTED:
        return reasons.REJECTED
    if mr.status.phase == merge_request.PHASE_CONFLICTED:
        return reasons.CONFLICTED
    verified = conditions.find_condition(mr.status.conditions, conditions.VERIFIED)
    if verified is not None and verified.status == "False" and verified.reason == reasons.EMPTY_CHANGE:
        return reasons.EMPTY_CHANGE
    pinned = conditions.find_condition(mr.status.conditions, conditions.HEAD_PINNED)
    if pinned is not None and pinned.status == "False" and (seconds_since(pinned.lastTransitionTime, now) or 0.0) > UNPINNED_SECONDS:
        return pinned.reason
    return ""


def _counts(bead: Bead, mr: MergeRequest) -> bool:
    # A request of a session that lost the bead must not make it look submitted before the operator has refused it.
    verified = conditions.is_true(mr.status.conditions, conditions.VERIFIED)
    return verified or (bead.spec.assignee != "" and mr.spec.agentName == bead.spec.assignee)


def _is_strangers(bead: Bead, mr: MergeRequest) -> bool:
    """Whether an agent asked for it that did not hold the bead, and nobody ever found that it did: no word about the holder's work."""
    is_judged = is_over(mr) or conditions.is_true(mr.status.conditions, conditions.VERIFIED)
    return not is_judged and mr.spec.agentName not in (bead.spec.assignee, bead.status.agentName)

"""What a bead came to, as the beads, convoys and people that wait for it see it. Pure; used by readiness, convoy and bead."""

from __future__ import annotations

import re

from gastown.api import bead as beads
from gastown.api import conditions, reasons
from gastown.api.bead import Bead

# The operator closes a bead whose condition can no longer come true with this prefix; it counts as done, but nothing was done.
SKIPPED_PREFIX = "skipped: "
# Close reasons that begin so say the work did not succeed. Only the beginning counts: "fixed the failed test" is a success.
_FAILURE = re.compile(r"(fail(ed|ure)?|reject(ed)?|wont-?fix|won'?t[ -]fix|cancel+ed|abandon(ed)?|abort(ed)?|timed? ?out|error(ed)?)\b")


def is_closed(bead: Bead) -> bool:
    """Whether people or the operator closed it."""
    return bead.spec.state == beads.CLOSED


def is_skipped(bead: Bead) -> bool:
    """Closed because its condition can no longer come true."""
    return is_closed(bead) and bead.spec.closeReason.startswith(SKIPPED_PREFIX)


def is_closed_as_failure(bead: Bead) -> bool:
    """Closed with a reason that says the work did not succeed."""
    spec = bead.spec
    if not is_closed(bead) or is_skipped(bead) or spec.closeReason.startswith("landed "):
        return False
    return _FAILURE.match(spec.closeReason.strip().lower()) is not None


def is_landed(bead: Bead) -> bool:
    """Closed, and main contains its work."""
    return is_closed(bead) and conditions.is_true(bead.status.conditions, conditions.LANDED)


def is_done(bead: Bead) -> bool:
    """Whether it counts for its convoy: landed, or skipped, or closed without failure when no commit was expected."""
    if is_landed(bead) or is_skipped(bead):
        return True
    return is_closed(bead) and bead.spec.delivery == beads.DELIVERY_NONE and not is_closed_as_failure(bead)


def is_closed_in_vain(bead: Bead) -> bool:
    """Closed, and not done; only once the closing is observed, for between the closing and the word that it landed lies a moment."""
    return is_closed(bead) and not is_done(bead) and bead.status.observedGeneration >= bead.metadata.generation


def is_given_up(bead: Bead) -> bool:
    """Open, but its attempts or reworks are used up; a person may ask for another try."""
    return not is_closed(bead) and bead.status.phase == beads.PHASE_FAILED


def outcome_of(bead: Bead, dependency_type: str) -> str:
    """What a dependency of that type on this bead came to (not for waits-for, which looks at the children).

    `blocks` is content with closed, `merge-blocks` needs the work on main, `conditional-blocks` also sees that it was given up.
    """
    if is_skipped(bead):
        return beads.OUTCOME_SKIPPED
    if dependency_type == beads.MERGE_BLOCKS:
        return beads.OUTCOME_SUCCEEDED if is_done(bead) else beads.OUTCOME_PENDING
    if is_closed_as_failure(bead):
        return beads.OUTCOME_FAILED
    if is_closed(bead):
        return beads.OUTCOME_SUCCEEDED
    if dependency_type == beads.CONDITIONAL_BLOCKS and is_given_up(bead):
        return beads.OUTCOME_FAILED
    return beads.OUTCOME_PENDING


def why_not_done(bead: Bead) -> tuple[str, str]:
    """Reason and message for people: why this member of a convoy is not done."""
    status = bead.status
    if is_closed_as_failure(bead):
        return reasons.MEMBER_FAILED, f"closed as: {bead.spec.closeReason}"
    if is_closed(bead):
        return reasons.NOT_LANDED, "closed, but no commit of it is on main; reopen it, or set delivery None if none was expected"
    for type_ in (conditions.PROGRESSING, conditions.STARTABLE):
        found = conditions.find_condition(status.conditions, type_)
        if found is not None and found.status == "False" and found.reason != reasons.BOUND:
            return found.reason, found.message
    return status.phase or reasons.VALIDATING, ""

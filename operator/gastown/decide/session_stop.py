"""Why a session that runs has to end. Pure; used by session and session_status, which must agree."""

from __future__ import annotations

from gastown.api import bead as beads
from gastown.api import town
from gastown.api.bead import Bead
from gastown.api.town import Town
from gastown.decide import outcomes
from gastown.decide.session_seen import SessionSeen
from gastown.decide.times import is_recent

# A session whose bead is submitted or closed ends by itself; after this time it is ended.
LINGER_SECONDS = 60.0


def why_stop(seen: SessionSeen, bead: Bead | None, now: float) -> str:
    """Why a session that runs has to end; "" if it may go on.

    Args:
        bead: The one the agent should work on.
    """
    if is_stopped(seen.town):
        return "emergency stop"
    if seen.agent.spec.retired or seen.agent.spec.suspend:
        return "the agent is retired" if seen.agent.spec.retired else "the agent is suspended"
    carried = seen.pod_bead
    if carried is None:
        return "its bead is gone"
    if bead is not None and bead.metadata.name == carried.metadata.name:
        return ""
    if (over := over_since(carried, seen.agent.metadata.name)) is not None:
        return "" if not over or is_recent(over, LINGER_SECONDS, now) else "its bead is done"
    return "its bead is no longer on this agent's hook"


def over_since(bead: Bead, agent_name: str) -> str | None:
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

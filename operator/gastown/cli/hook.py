"""What is on an agent's hook; shared by `gt hook`, `gt prime` and `gt done`."""

from __future__ import annotations

from typing import Any

from gastown.api.bead import CLOSED
from gastown.cli.beads import list_beads
from gastown.cli.errors import NOT_FOUND, USAGE, CommandError
from gastown.cli.place import Place
from gastown.kube.rest import Client


def get_agent(place: Place) -> str:
    """The agent we act for.

    Raises:
        CommandError: Nothing says which.
    """
    if place.agent:
        return place.agent
    remedy = "pass --agent NAME, or work in a worktree whose git config has gastown.agent"
    raise CommandError("agent", "unknown", remedy=remedy, exit_code=USAGE, reason="NoAgent")


def beads_on_hook(client: Client, place: Place, agent: str) -> list[dict[str, Any]]:
    """Open beads bound to an agent, the one to work on first (the oldest binding that is told apart)."""
    found = list_beads(client, place.namespace, field_selector=f"spec.assignee={agent},spec.state!={CLOSED}")
    hooked = [item for item in found if item.get("status", {}).get("phase") != "Submitted"]
    return sorted(hooked, key=lambda item: str(item.get("status", {}).get("times", {}).get("hookedTime", "") or "~"))


def get_hooked_bead(client: Client, place: Place, agent: str) -> str:
    """The ID of the bead an agent works on.

    Raises:
        CommandError: Its hook is empty.
    """
    if place.bead:
        return place.bead
    found = beads_on_hook(client, place, agent)
    if not found:
        raise CommandError(f"hook of {agent}", "is empty", remedy="see `bd ready`", exit_code=NOT_FOUND, reason="EmptyHook")
    return str(found[0]["metadata"]["name"])

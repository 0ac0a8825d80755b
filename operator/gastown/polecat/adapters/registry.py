"""Finds an adapter by the name in AgentProfile.spec.adapter; each is imported only when asked for."""

from __future__ import annotations

from gastown.api.agent_profile import ADAPTERS
from gastown.polecat.adapters.base import Adapter
from gastown.polecat.errors import Refused


def get_adapter(name: str) -> Adapter:
    """The adapter of that name.

    Raises:
        Refused: There is none (yet).
    """
    if name == "shell":
        from gastown.polecat.adapters.shell import ShellAdapter

        return ShellAdapter()
    known = "is not built yet" if name in ADAPTERS else "is unknown"
    remedy = "set AgentProfile.spec.adapter to shell"
    raise Refused("the agent's profile", f"adapter {name!r} {known}", remedy=remedy, reason="UnknownAdapter")

"""Which profile a bead is worked with. Pure; shared by dispatch, session and bead so that they agree."""

from __future__ import annotations

from collections.abc import Mapping

from gastown.api import conditions
from gastown.api.agent import Agent
from gastown.api.agent_profile import AgentProfile
from gastown.api.bead import Bead
from gastown.api.rig import Rig
from gastown.api.town import Town


def profile_name(bead: Bead | None, agent: Agent | None, rig: Rig | None, town: Town | None) -> str:
    """The first that says one: the bead (it was asked for), the agent, the rig, the town; "" if none does."""
    said = (
        bead.spec.profileName if bead is not None else "",
        agent.spec.profileName if agent is not None else "",
        rig.spec.profileName if rig is not None else "",
        town.spec.defaults.profileName if town is not None else "",
    )
    return next((name for name in said if name), "")


def why_unusable(name: str, profiles: Mapping[str, AgentProfile]) -> str:
    """Why no session can run with that profile, with the remedy; "" if one can."""
    if not name:
        return "no profile is named: set profileName on the bead, the Rig, or as the Town's default"
    profile = profiles.get(name)
    if profile is None:
        return f"AgentProfile {name} does not exist; create it, or name another"
    ready = conditions.find_condition(profile.status.conditions, conditions.READY)
    if ready is not None and ready.status == "False":
        return f"AgentProfile {name} is not accepted: {ready.message}"
    return ""

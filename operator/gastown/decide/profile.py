"""Can sessions run with this profile? Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gastown.actions import Action, SetStatus
from gastown.api import conditions, reasons
from gastown.api.agent_profile import ADAPTERS, AgentProfile
from gastown.api.meta import Condition
from gastown.decide.times import time_text

# Adapters that run the profile's own command; the others know their program.
_OF_COMMAND = frozenset({"shell", "command"})


@dataclass(frozen=True, slots=True)
class ProfileSeen:
    """All that bears on one profile.

    Attributes:
        agents: How many Agents name it.
    """

    profile: AgentProfile
    agents: int = 0


def decide(seen: ProfileSeen, now: float) -> list[Action]:
    """Accept the profile, or say what is wrong with it.

    Args:
        now: Unix seconds.
    """
    profile = seen.profile
    if profile.metadata.deletionTimestamp:
        return []
    problem = _problem(profile)
    generation = profile.metadata.generation
    ready = Condition(
        type=conditions.READY,
        status="False" if problem else "True",
        reason=reasons.INVALID if problem else reasons.ACCEPTED,
        message=problem or "accepted",
        observedGeneration=generation,
    )
    found = conditions.with_condition(profile.status.conditions, ready, time_text(now))
    if problem:
        stalled = replace(ready, type=conditions.STALLED, status="True")
        found = conditions.with_condition(found, stalled, time_text(now))
    else:
        found = conditions.without_condition(found, conditions.STALLED)
    status = replace(profile.status, observedGeneration=generation, agents=seen.agents, conditions=found)
    is_news = status.conditions != profile.status.conditions
    return [SetStatus(profile, status, roll_up=not is_news, reason=ready.reason)]


def _problem(profile: AgentProfile) -> str:
    spec = profile.spec
    if spec.adapter not in ADAPTERS:
        return f"adapter {spec.adapter} is unknown; use one of {', '.join(ADAPTERS)}"
    if spec.adapter in _OF_COMMAND and not spec.command:
        return f"adapter {spec.adapter} runs the profile's own program; set spec.command"
    return ""

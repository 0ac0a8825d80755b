"""Is this rig ready for work? Its operator's part of the status: Ready, gate digest, polecats. Pure.

Head, queue and condition RepositoryReady are the refinery's; they are passed on untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gastown.actions import Action, SetStatus
from gastown.api import agent as agents
from gastown.api import conditions, reasons, rig
from gastown.api.agent import Agent
from gastown.api.agent_profile import AgentProfile
from gastown.api.codec import to_dict
from gastown.api.meta import Condition
from gastown.api.rig import Rig, gate_digest
from gastown.api.town import Town
from gastown.decide import profiles
from gastown.decide.times import time_text

# What only a change of some spec heals.
_STALLED = frozenset({reasons.PREFIX_TAKEN, reasons.NO_GATES})
_ACTIVE = frozenset({agents.PHASE_STARTING, agents.PHASE_WORKING, agents.PHASE_STOPPING})


@dataclass(frozen=True, slots=True)
class RigSeen:
    """All that bears on one rig.

    Attributes:
        others: The other Rigs of the namespace.
        agents: Those of this rig.
    """

    rig: Rig
    others: tuple[Rig, ...] = ()
    agents: tuple[Agent, ...] = ()
    town: Town | None = None
    profiles: Mapping[str, AgentProfile] = field(default_factory=dict)


def decide(seen: RigSeen, now: float) -> list[Action]:
    """Tell whether beads of this rig can be worked on, and if not, what to do.

    Args:
        now: Unix seconds.
    """
    subject = seen.rig
    if subject.metadata.deletionTimestamp:
        return []
    reason, message = _finding(seen)
    status = "True" if reason == reasons.ACCEPTED else "False"
    polecats = [agent for agent in seen.agents if agent.spec.role == agents.ROLE_POLECAT and not agent.spec.retired]
    patch = {
        "observedGeneration": subject.metadata.generation,
        "phase": _phase(subject, reason),
        "gateDigest": gate_digest(subject.spec.gates),
        "polecats": len(polecats),
        "activePolecats": sum(agent.status.phase in _ACTIVE for agent in polecats),
        "conditions": to_dict(_conditions(subject, status, reason, message, now)),
    }
    said = conditions.find_condition(subject.status.conditions, conditions.READY)
    # Polecats come and go all the time; that the rig became ready, or the gates changed, is told at once.
    is_news = said is None or (said.status, said.reason) != (status, reason) or patch["gateDigest"] != subject.status.gateDigest
    return [SetStatus(subject, patch, roll_up=not is_news, reason=reason)]


def owner_of_prefix(rigs: Iterable[Rig]) -> dict[str, Rig]:
    """Prefix -> the Rig it belongs to: the oldest one that claims it, so that a late comer never takes another's beads."""
    owners: dict[str, Rig] = {}
    for candidate in sorted(rigs, key=lambda rig: (rig.metadata.creationTimestamp, rig.metadata.name)):
        owners.setdefault(candidate.spec.prefix, candidate)
    return owners


def _finding(seen: RigSeen) -> tuple[str, str]:
    """Reason and message of condition Ready: what a person must heal comes first."""
    subject = seen.rig
    owner = owner_of_prefix((subject, *seen.others))[subject.spec.prefix]
    if owner.metadata.name != subject.metadata.name:
        text = f"prefix {subject.spec.prefix} belongs to Rig {owner.metadata.name}, which is older; recreate this Rig with another prefix"
        return reasons.PREFIX_TAKEN, text
    if not subject.spec.gates:
        return reasons.NO_GATES, "no gates: nothing could land; add at least one to spec.gates"
    name = profiles.profile_name(None, None, subject, seen.town)
    if name and (problem := profiles.why_unusable(name, seen.profiles)):
        return reasons.UNKNOWN_PROFILE, problem
    repository = conditions.find_condition(subject.status.conditions, conditions.REPOSITORY_READY)
    if repository is None:
        return reasons.WAITING_FOR_REPOSITORY, "the refinery has not made the repository yet"
    if repository.status != "True":
        return repository.reason or reasons.WAITING_FOR_REPOSITORY, repository.message
    return reasons.ACCEPTED, "ready for work"


def _phase(subject: Rig, reason: str) -> str:
    if reason in _STALLED:
        return rig.PHASE_STALLED
    if subject.spec.suspend:
        return rig.PHASE_SUSPENDED
    return rig.PHASE_READY if reason == reasons.ACCEPTED else rig.PHASE_PENDING


def _conditions(subject: Rig, status: str, reason: str, message: str, now: float) -> list[Condition]:
    generation = subject.metadata.generation
    ready = Condition(type=conditions.READY, status=status, reason=reason, message=message, observedGeneration=generation)
    found = conditions.with_condition(subject.status.conditions, ready, time_text(now))
    if reason not in _STALLED:
        return conditions.without_condition(found, conditions.STALLED)
    stalled = Condition(type=conditions.STALLED, status="True", reason=reason, message=message, observedGeneration=generation)
    return conditions.with_condition(found, stalled, time_text(now))

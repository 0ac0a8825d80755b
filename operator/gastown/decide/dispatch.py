"""Which startable bead goes to which agent? Pure; decided for a whole town at once, because capacity is the town's.

Beads go in the order convoy age, priority, age. A bead takes, in this order: the idle agent that held it before (it knows the work), an
idle agent of its rig that runs the wanted profile, a new agent from the name pool, any idle agent of the rig.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gastown.actions import Action, Bind, Create, Single, Together
from gastown.api import agent as agents
from gastown.api import conditions, labels, reasons
from gastown.api.agent import Agent, AgentSpec
from gastown.api.agent_profile import AgentProfile
from gastown.api.bead import Bead
from gastown.api.convoy import Convoy
from gastown.api.meta import ObjectMeta
from gastown.api.rig import Rig
from gastown.api.town import Town, TownCapacity
from gastown.decide import profiles
from gastown.decide.name_pool import free_names
from gastown.decide.session import needs_session
from gastown.decide.session_stop import is_stopped


@dataclass(frozen=True, slots=True)
class DispatchSeen:
    """A town as the dispatcher sees it.

    Attributes:
        rigs: By name.
        rig_of_prefix: Bead prefix -> Rig, for beads that name no rig.
        agents: All of the namespace, by name.
        occupied: Agents whose pod has not ended.
        startable: Unbound beads in phase Ready that may start.
        held: Open beads with an assignee.
        convoys: Bead name -> the convoys it is a member of.
    """

    namespace: str = ""
    town: Town | None = None
    rigs: Mapping[str, Rig] = field(default_factory=dict)
    rig_of_prefix: Mapping[str, Rig] = field(default_factory=dict)
    agents: Mapping[str, Agent] = field(default_factory=dict)
    profiles: Mapping[str, AgentProfile] = field(default_factory=dict)
    occupied: frozenset[str] = frozenset()
    startable: tuple[Bead, ...] = ()
    held: tuple[Bead, ...] = ()
    convoys: Mapping[str, tuple[Convoy, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the dispatcher wants.

    Attributes:
        bindings: A chain each: the binding, after its agent if that is a new one. First the bead that goes first.
        waiting: Bead name -> (reason, message) of each startable bead that is not bound now.
    """

    bindings: tuple[tuple[Single, ...], ...]
    waiting: Mapping[str, tuple[str, str]]


def decide(seen: DispatchSeen, now: float) -> list[Action]:
    """The bindings to make now.

    Args:
        now: Unused: nothing here depends on the clock.
    """
    del now
    return actions_of(plan(seen))


def actions_of(plan: Plan) -> list[Action]:
    """The plan's bindings, to be made at the same time: none waits for another, and one that is refused stops no other."""
    return [Together(plan.bindings)] if plan.bindings else []


def plan(seen: DispatchSeen) -> Plan:
    """Bindings, new agents, and why the others wait."""
    desk = _Desk(seen)
    bindings: list[tuple[Single, ...]] = []
    waiting: dict[str, tuple[str, str]] = {}
    for bead in sorted(seen.startable, key=lambda bead: order_key(bead, seen.convoys.get(bead.metadata.name, ()))):
        rig = rig_of(bead, seen)
        refusal = desk.refusal(bead, rig)
        if refusal is not None or rig is None:
            waiting[bead.metadata.name] = refusal or (reasons.NO_RIG, "its Rig does not exist")
            continue
        profile_name = profiles.profile_name(bead, None, rig, seen.town)
        agent_name = desk.idle_agent(bead, rig, profile_name)
        first: tuple[Single, ...] = ()
        if agent_name is None:
            new = desk.new_agent(bead, rig)
            if new is not None:
                first = (Create(new, reason=f"an agent for {bead.metadata.name}"),)
                agent_name = new.metadata.name
        agent_name = agent_name or desk.any_idle_agent(rig)
        if agent_name is None:
            waiting[bead.metadata.name] = (reasons.NO_AGENT, f"every agent of Rig {rig.metadata.name} is busy")
            continue
        desk.take(bead, rig, agent_name)
        bindings.append((*first, Bind(bead, agent_name, reason=f"priority {bead.spec.priority}, profile {profile_name}")))
    return Plan(tuple(bindings), waiting)


def order_key(bead: Bead, convoys: tuple[Convoy, ...]) -> tuple[str, int, str, str]:
    """Sorts beads for dispatch: age of the oldest convoy (a bead without one is its own), priority, age, name."""
    created = bead.spec.createdTime or bead.metadata.creationTimestamp
    age = min((convoy.metadata.creationTimestamp for convoy in convoys), default=bead.metadata.creationTimestamp)
    return age, bead.spec.priority, created, bead.metadata.name


def rig_of(bead: Bead, seen: DispatchSeen) -> Rig | None:
    """The rig that works on the bead: the one it names, else its prefix's."""
    if bead.spec.rigName:
        return seen.rigs.get(bead.spec.rigName)
    return seen.rig_of_prefix.get(bead.metadata.name.split("-", 1)[0])


def is_holding(bead: Bead) -> bool:
    """Whether a bound bead keeps its agent busy: from Submitted on the agent is free."""
    return bead.spec.assignee != "" and needs_session(bead)


class _Desk:
    """The books of one plan: who is free, and what capacity is left."""

    def __init__(self, seen: DispatchSeen) -> None:
        self._seen = seen
        held = [bead for bead in seen.held if is_holding(bead)]
        busy = {bead.spec.assignee for bead in held if bead.spec.assignee in seen.agents} | (seen.occupied & seen.agents.keys())
        self._capacity = (seen.town.spec.capacity if seen.town is not None else TownCapacity()).maxPolecats - len(busy)
        self._busy_by_rig = Counter(seen.agents[name].spec.rigName for name in busy)
        self._held_by_convoy = Counter(convoy.metadata.name for bead in held for convoy in seen.convoys.get(bead.metadata.name, ()))
        self._idle: dict[str, list[Agent]] = {}
        self._polecats: Counter[str] = Counter()
        for agent in seen.agents.values():
            if agent.spec.role != agents.ROLE_POLECAT or agent.spec.retired or agent.metadata.deletionTimestamp:
                continue
            self._polecats[agent.spec.rigName] += 1
            if agent.metadata.name not in busy and not agent.spec.suspend:
                self._idle.setdefault(agent.spec.rigName, []).append(agent)
        self._names: dict[str, Iterator[str]] = {}
        self._stopped = is_stopped(seen.town)

    def refusal(self, bead: Bead, rig: Rig | None) -> tuple[str, str] | None:
        """Why the bead can not be bound whoever is idle; texts hold no numbers that change, each change would be a write."""
        if self._stopped:
            return reasons.EMERGENCY_STOP, "the town's emergency stop is on"
        if rig is None:
            return reasons.NO_RIG, "its Rig does not exist"
        name = rig.metadata.name
        if rig.spec.suspend:
            return reasons.SUSPENDED, f"Rig {name} is suspended"
        if not conditions.is_true(rig.status.conditions, conditions.READY):
            return reasons.RIG_NOT_READY, f"Rig {name} is not Ready; see its conditions"
        if problem := profiles.why_unusable(profiles.profile_name(bead, None, rig, self._seen.town), self._seen.profiles):
            return reasons.NO_PROFILE, problem
        for convoy in self._seen.convoys.get(bead.metadata.name, ()):
            if 0 < convoy.spec.maxPolecats <= self._held_by_convoy[convoy.metadata.name]:
                return reasons.NO_CAPACITY, f"convoy {convoy.metadata.name} has maxPolecats {convoy.spec.maxPolecats} beads in hand"
        if self._busy_by_rig[name] >= rig.spec.maxPolecats:
            return reasons.NO_CAPACITY, f"Rig {name} has maxPolecats {rig.spec.maxPolecats} agents at work"
        if self._capacity <= 0:
            return reasons.NO_CAPACITY, "the Town has capacity.maxPolecats agents at work"
        return None

    def idle_agent(self, bead: Bead, rig: Rig, profile_name: str) -> str | None:
        """The idle agent that suits the bead best."""
        idle = self._idle.get(rig.metadata.name, [])
        if any(agent.metadata.name == bead.status.agentName for agent in idle):
            return bead.status.agentName
        fitting = [agent for agent in idle if profiles.profile_name(None, agent, rig, self._seen.town) == profile_name]
        # Whoever failed last comes last; then by record and by name, so that the choice is the same each time.
        best = min(fitting, key=lambda agent: (agent.status.attempts, -agent.status.cv.landed, agent.metadata.name), default=None)
        return best.metadata.name if best is not None else None

    def any_idle_agent(self, rig: Rig) -> str | None:
        """Some idle agent of the rig; its session runs with the bead's profile all the same."""
        return min((agent.metadata.name for agent in self._idle.get(rig.metadata.name, [])), default=None)

    def new_agent(self, bead: Bead, rig: Rig) -> Agent | None:
        """A new identity of the rig; None when it has maxPolecats already."""
        name = rig.metadata.name
        if self._polecats[name] >= rig.spec.maxPolecats:
            return None
        self._polecats[name] += 1
        if name not in self._names:
            self._names[name] = free_names(rig, self._seen.agents)
        return Agent(
            metadata=ObjectMeta(
                name=next(self._names[name]),
                namespace=rig.metadata.namespace,
                labels={
                    labels.PART_OF: "gastown",
                    labels.MANAGED_BY: "gastown-operator",
                    labels.RIG: name,
                    labels.ROLE: agents.ROLE_POLECAT,
                },
            ),
            spec=AgentSpec(role=agents.ROLE_POLECAT, rigName=name, profileName=bead.spec.profileName),
        )

    def take(self, bead: Bead, rig: Rig, agent_name: str) -> None:
        """Book the binding."""
        name = rig.metadata.name
        self._idle[name] = [agent for agent in self._idle.get(name, []) if agent.metadata.name != agent_name]
        self._capacity -= 1
        self._busy_by_rig[name] += 1
        self._held_by_convoy.update(convoy.metadata.name for convoy in self._seen.convoys.get(bead.metadata.name, ()))

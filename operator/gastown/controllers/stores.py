"""What the operator knows: one store per kind, with the indices that its controllers look things up by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gastown.api import bead as beads
from gastown.api import conditions, kinds, labels
from gastown.api.agent import Agent
from gastown.api.agent_profile import AgentProfile
from gastown.api.bead import Bead
from gastown.api.convoy import Convoy
from gastown.api.core import Job, Lease, Pod
from gastown.api.gate_run import GateRun
from gastown.api.kinds import Kind
from gastown.api.merge_request import MergeRequest
from gastown.api.names import shorten
from gastown.api.rig import Rig
from gastown.api.town import NAME, Town
from gastown.decide import dependencies
from gastown.decide.rig import owner_of_prefix
from gastown.runtime.store import Store


def at(namespace: str, name: str) -> str:
    """The value under which an index holds what belongs to `name`."""
    return f"{namespace}/{name}"


@dataclass(frozen=True, slots=True)
class Stores:
    """One store per kind.

    Attributes:
        beads: Indices assignee, last_holder, waits_for, parent, convoy (each by at()), startable and held (by namespace).
        merge_requests: Index bead.
        agents: Indices rig, profile.
        pods: Those of sessions and gates; index gate_run.
        jobs: Index gate_run.
        leases: Heartbeats of agents.
        gate_runs: Index rig: those without a verdict.
        convoys: Indices bead (what it lists), label (as its own beads carry it).
    """

    towns: Store[Town]
    rigs: Store[Rig]
    profiles: Store[AgentProfile]
    agents: Store[Agent]
    beads: Store[Bead]
    convoys: Store[Convoy]
    merge_requests: Store[MergeRequest]
    gate_runs: Store[GateRun]
    pods: Store[Pod]
    jobs: Store[Job]
    leases: Store[Lease]

    def by_kind(self) -> Mapping[Kind, Store[Any]]:
        """For the executor."""
        return {store.kind: store for store in (getattr(self, name) for name in self.__slots__)}

    def town(self, namespace: str) -> Town | None:
        """The namespace's Town."""
        return self.towns.find(namespace, NAME)

    def rigs_by_prefix(self, namespace: str) -> dict[str, Rig]:
        """Bead prefix -> Rig."""
        return owner_of_prefix(self.rigs.all(namespace))

    def profiles_by_name(self, namespace: str) -> dict[str, AgentProfile]:
        """All profiles of a namespace."""
        return {profile.metadata.name: profile for profile in self.profiles.all(namespace)}

    def convoys_of(self, bead: Bead) -> tuple[Convoy, ...]:
        """The convoys a bead is a member of: those that list it, and the one that made it."""
        namespace = bead.metadata.namespace
        found = {convoy.metadata.name: convoy for convoy in self.convoys.by("bead", at(namespace, bead.metadata.name))}
        for maker in self.convoys.by("label", at(namespace, bead.metadata.labels.get(labels.CONVOY, ""))):
            found[maker.metadata.name] = maker
        return tuple(found[name] for name in sorted(found))

    def members_of(self, convoy: Convoy) -> list[Bead]:
        """The existing members of a convoy."""
        namespace = convoy.metadata.namespace
        made = self.beads.by("convoy", at(namespace, shorten(convoy.metadata.name)))
        listed = (self.beads.find(namespace, bead_id.lower()) for bead_id in convoy.spec.beads)
        return list({bead.metadata.name: bead for bead in (*made, *listed) if bead is not None}.values())


def make_stores() -> Stores:
    """Empty stores with their indices."""
    return Stores(
        towns=Store(kinds.TOWN),
        rigs=Store(kinds.RIG),
        profiles=Store(kinds.AGENT_PROFILE),
        agents=Store(kinds.AGENT, {"rig": _rig_of_agent, "profile": _profile_of_agent}),
        beads=Store(
            kinds.BEAD,
            {
                "assignee": lambda bead: _under(bead, bead.spec.assignee),
                "last_holder": lambda bead: _under(bead, bead.status.agentName),
                "waits_for": _waited_for,
                "parent": lambda bead: _under(bead, dependencies.parent_name(bead)),
                "convoy": lambda bead: _under(bead, bead.metadata.labels.get(labels.CONVOY, "")),
                "startable": lambda bead: [bead.metadata.namespace] if is_startable(bead) else [],
                "held": lambda bead: [bead.metadata.namespace] if bead.spec.assignee and bead.spec.state == beads.OPEN else [],
            },
        ),
        convoys=Store(
            kinds.CONVOY,
            {
                "bead": lambda convoy: [at(convoy.metadata.namespace, bead_id.lower()) for bead_id in convoy.spec.beads],
                "label": lambda convoy: _under(convoy, shorten(convoy.metadata.name)),
            },
        ),
        merge_requests=Store(kinds.MERGE_REQUEST, {"bead": lambda mr: _under(mr, mr.spec.beadName)}),
        gate_runs=Store(kinds.GATE_RUN, {"rig": lambda run: _under(run, run.spec.rigName)}),
        pods=Store(kinds.POD, {"gate_run": lambda pod: _under(pod, pod.metadata.labels.get(labels.GATE_RUN, ""))}),
        jobs=Store(kinds.JOB, {"gate_run": lambda job: _under(job, job.metadata.labels.get(labels.GATE_RUN, ""))}),
        leases=Store(kinds.LEASE),
    )


def is_startable(bead: Bead) -> bool:
    """Whether the present spec was found startable and nobody has taken it."""
    return (
        bead.spec.assignee == ""
        and bead.status.phase == beads.PHASE_READY
        and bead.status.observedGeneration == bead.metadata.generation
        and conditions.is_true(bead.status.conditions, conditions.STARTABLE)
    )


def _under(value: Any, name: str) -> Iterable[str]:
    return [at(value.metadata.namespace, name)] if name else []


def _waited_for(bead: Bead) -> Iterable[str]:
    return [at(bead.metadata.namespace, edge.id) for edge in dependencies.blocking(bead)]


def _rig_of_agent(agent: Agent) -> Iterable[str]:
    return _under(agent, agent.spec.rigName)


def _profile_of_agent(agent: Agent) -> Iterable[str]:
    return _under(agent, agent.spec.profileName)

"""Beads: what bears on one, and whose change may change what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gastown.actions import Key
from gastown.api import bead as beads
from gastown.api import town
from gastown.api.agent import Agent
from gastown.api.agent_profile import AgentProfile
from gastown.api.bead import Bead
from gastown.api.convoy import Convoy
from gastown.api.core import Pod
from gastown.api.merge_request import MergeRequest
from gastown.api.names import prefix_of
from gastown.api.rig import Rig
from gastown.controllers.changes import is_new_spec, key_of, versions
from gastown.controllers.stores import Stores, at
from gastown.decide import dependencies, graph, outcomes, profiles, session_end
from gastown.decide.bead import BeadSeen
from gastown.decide.bead_conditions import Waiting
from gastown.decide.dependencies import Neighbours
from gastown.decide.readiness import Readiness
from gastown.runtime.controller import Controller
from gastown.runtime.store import Change

# Rings of beads are looked for this far; a longer one still blocks, it is only not named.
RING_LIMIT = 256
# Parents of parents are looked at this far.
DEPTH_LIMIT = 8


class BeadWiring:
    """Builds the input of `decide/bead.py` and wakes the beads that a change concerns.

    Args:
        waiting: What the dispatcher says of beads it did not bind; it wakes them itself.
        clock: Monotonic seconds.
    """

    def __init__(self, stores: Stores, waiting: Mapping[Key, Waiting], clock: Callable[[], float] = time.monotonic) -> None:
        self._stores = stores
        self._waiting = waiting
        self._clock = clock
        # Uid of a pod whose session is over -> when that was first seen.
        self._ended: dict[str, float] = {}

    def observe(self, key: Key) -> BeadSeen | None:
        """All that bears on the bead; None when it is gone."""
        stores, (namespace, name) = self._stores, key
        bead = stores.beads.find(namespace, name)
        if bead is None or stores.beads.is_assumed(namespace, name):
            return None  # a binding under way wakes the bead again when it is known how it went
        holder = bead.spec.assignee or bead.status.agentName
        agent = stores.agents.find(namespace, holder)
        pod = stores.pods.find(namespace, holder)
        rig = self._rig(bead)
        if pod is not None and session_end.bead_name(pod) != name:
            pod = None
        profile, now = self._profile(bead, agent, rig), self._clock()
        return BeadSeen(
            readiness=self._readiness(bead, rig),
            merge_requests=tuple(stores.merge_requests.by("bead", at(namespace, name))),
            agent=agent,
            pod=pod,
            lease=stores.leases.find(namespace, holder),
            ended_seconds=now - self._ended.get(pod.metadata.uid, now) if pod is not None else 0.0,
            limits=profile.spec.limits,
            prices=profile.spec.prices,
            waiting=self._waiting.get(key),
        )

    def _note_end(self, change: Change[Pod]) -> None:
        if change.before is not None and (change.after is None or change.after.metadata.uid != change.before.metadata.uid):
            self._ended.pop(change.before.metadata.uid, None)
        if change.after is not None and session_end.is_over(change.after):
            self._ended.setdefault(change.after.metadata.uid, self._clock())

    def wire(self, controller: Controller[BeadSeen]) -> None:
        """Subscribe to what bears on beads."""
        stores = self._stores

        def on_bead(change: Change[Bead]) -> None:
            controller.enqueue(change.key, *self._concerned(change))

        def on_merge_request(change: Change[MergeRequest]) -> None:
            controller.enqueue(*((change.key[0], mr.spec.beadName) for mr in versions(change)))

        def on_pod(change: Change[Pod]) -> None:
            self._note_end(change)
            names = {session_end.bead_name(pod) for pod in versions(change)} - {""}
            controller.enqueue(*((change.key[0], name) for name in names))

        def on_agent(change: Change[Agent]) -> None:
            controller.enqueue(*(key_of(bead) for bead in stores.beads.by("assignee", at(*change.key))))

        def on_convoy(change: Change[Convoy]) -> None:
            if is_new_spec(change) or _phase(change.before) != _phase(change.after):
                controller.enqueue(*(key_of(bead) for convoy in versions(change) for bead in stores.members_of(convoy)))

        def on_rule(change: Change[Any]) -> None:
            if is_new_spec(change):
                controller.enqueue(*(key_of(bead) for bead in stores.beads.all(change.key[0]) if not outcomes.is_closed(bead)))

        stores.beads.subscribe(on_bead)
        stores.merge_requests.subscribe(on_merge_request)
        stores.pods.subscribe(on_pod)
        stores.agents.subscribe(on_agent)
        stores.convoys.subscribe(on_convoy)
        stores.rigs.subscribe(on_rule)
        stores.profiles.subscribe(on_rule)

    def _readiness(self, bead: Bead, rig: Rig | None) -> Readiness:
        namespace, prefix = bead.metadata.namespace, prefix_of(bead.metadata.name)
        waits = not outcomes.is_closed(bead) and not bead.spec.assignee
        return Readiness(
            bead=bead,
            neighbours=self._neighbours(bead) if waits else Neighbours(),
            rig=rig,
            knows_prefix=prefix == town.PREFIX or prefix in self._stores.rigs_by_prefix(namespace),
            convoys=self._stores.convoys_of(bead),
            cycle=graph.ring_through(bead.metadata.name, lambda name: self._holders(namespace, name), RING_LIMIT) if waits else (),
        )

    def _neighbours(self, bead: Bead) -> Neighbours:
        namespace = bead.metadata.namespace
        found: dict[str, Bead] = {}
        children: dict[str, tuple[Bead, ...]] = {}
        subject: Bead | None = bead
        for _ in range(DEPTH_LIMIT):
            if subject is None:
                break
            parent = dependencies.parent_name(subject)
            for edge in dependencies.blocking(subject):
                self._find_into(found, namespace, edge.id)
                if edge.type == beads.WAITS_FOR:
                    children[edge.id] = tuple(self._stores.beads.by("parent", at(namespace, edge.id)))
            self._find_into(found, namespace, parent)
            subject = found.get(parent)
        return Neighbours(found, children)

    def _find_into(self, found: dict[str, Bead], namespace: str, name: str) -> None:
        bead = self._stores.beads.find(namespace, name)
        if bead is not None:
            found[name] = bead

    def _holders(self, namespace: str, name: str) -> Iterator[str]:
        """Whatever must move before an open bead can: what it waits for, the children that it waits for, and its parent."""
        bead = self._stores.beads.find(namespace, name)
        if bead is None or outcomes.is_closed(bead):
            return
        for edge in dependencies.blocking(bead):
            children = self._stores.beads.by("parent", at(namespace, edge.id)) if edge.type == beads.WAITS_FOR else ()
            if not children:
                yield edge.id
            elif edge.metadata.get(dependencies.GATE) != dependencies.ANY_CHILDREN:  # any other child may set it free
                yield from (child.metadata.name for child in children)
        if parent := dependencies.parent_name(bead):
            yield parent  # held itself by what it waits for, and so are its children

    def _rig(self, bead: Bead) -> Rig | None:
        namespace = bead.metadata.namespace
        if bead.spec.rigName:
            return self._stores.rigs.find(namespace, bead.spec.rigName)
        return self._stores.rigs_by_prefix(namespace).get(prefix_of(bead.metadata.name))

    def _profile(self, bead: Bead, agent: Agent | None, rig: Rig | None) -> AgentProfile:
        namespace = bead.metadata.namespace
        name = profiles.profile_name(bead, agent, rig, self._stores.town(namespace))
        return self._stores.profiles.find(namespace, name) or AgentProfile()

    def _concerned(self, change: Change[Bead]) -> set[Key]:
        """Other beads that a change of this one may hold back or free."""
        namespace, name = change.key
        concerned: set[Key] = set()
        if _outward(change.before) != _outward(change.after):
            for bead in self._stores.beads.by("waits_for", at(namespace, name)):
                concerned.add(key_of(bead))
                concerned.update(key_of(child) for child in self._stores.beads.by("parent", at(namespace, bead.metadata.name)))
            concerned.update(key_of(child) for child in self._stores.beads.by("parent", at(namespace, name)))
            for parent in {dependencies.parent_name(bead) for bead in (change.before, change.after) if bead is not None}:
                concerned.update(key_of(bead) for bead in self._stores.beads.by("waits_for", at(namespace, parent)))
        if _edges(change.before) != _edges(change.after):
            # A ring may have closed or opened: whoever then finds that it is in one, or no more, wakes the others of it.
            concerned.update((namespace, edge.id) for version in versions(change) for edge in dependencies.blocking(version))
        return concerned


def _outward(bead: Bead | None) -> object:
    """What of a bead other beads look at."""
    if bead is None:
        return None
    spec = bead.spec
    return spec.state, spec.closeReason, spec.deferUntil, spec.parent, bead.status.phase, outcomes.is_landed(bead), _edges(bead)


def _edges(bead: Bead | None) -> object:
    return None if bead is None else (bead.spec.dependencies, bead.spec.parent)


def _phase(convoy: Convoy | None) -> str:
    return "" if convoy is None else convoy.status.phase

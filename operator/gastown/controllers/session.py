"""Agents: what bears on the session of one, and whose change may change what."""

from __future__ import annotations

from typing import Any

from gastown.actions import Key
from gastown.api import conditions
from gastown.api.agent import Agent
from gastown.api.bead import Bead
from gastown.api.core import Lease, Pod
from gastown.api.rig import Rig
from gastown.controllers.changes import is_new_spec, is_new_verdict, key_of, versions
from gastown.controllers.heartbeats import Heartbeats
from gastown.controllers.stores import Stores, at
from gastown.decide import session_end
from gastown.decide.session_pod import SessionSettings
from gastown.decide.session_seen import SessionSeen
from gastown.runtime.controller import Controller
from gastown.runtime.store import Change


class SessionWiring:
    """Builds the input of `decide/session.py` and wakes the agents that a change concerns."""

    def __init__(self, stores: Stores, settings: SessionSettings, heartbeats: Heartbeats) -> None:
        self._stores = stores
        self._settings = settings
        self._heartbeats = heartbeats

    def observe(self, key: Key) -> SessionSeen | None:
        """All that bears on the agent's session; None when the agent is gone (its pod goes with it)."""
        stores, (namespace, name) = self._stores, key
        agent = stores.agents.find(namespace, name)
        if agent is None:
            return None
        pod = stores.pods.find(namespace, name)
        if pod is not None and not any(owner.uid == agent.metadata.uid for owner in pod.metadata.ownerReferences):
            pod = None  # not ours; creating ours is refused until that one is gone, with a message that names it
        bound = stores.beads.by("assignee", at(namespace, name))
        return SessionSeen(
            agent=agent,
            settings=self._settings,
            # A binding that is only assumed may yet be lost to another claimer: no pod before it is certain.
            beads=tuple(bead for bead in bound if not stores.beads.is_assumed(namespace, bead.metadata.name)),
            worked=tuple(stores.beads.by("last_holder", at(namespace, name))),
            pod=pod,
            pod_bead=stores.beads.find(namespace, session_end.bead_name(pod)) if pod is not None else None,
            rig=stores.rigs.find(namespace, agent.spec.rigName),
            town=stores.town(namespace),
            profiles=stores.profiles_by_name(namespace),
            heartbeat=self._heartbeats.of(key, pod),
        )

    def wire(self, controller: Controller[SessionSeen]) -> None:
        """Subscribe to what bears on agents."""
        stores = self._stores

        def on_agent(change: Change[Agent]) -> None:
            controller.enqueue(change.key)

        def on_pod(change: Change[Pod]) -> None:
            if stores.agents.find(*change.key) is not None:
                controller.enqueue(change.key)

        def on_bead(change: Change[Bead]) -> None:
            names = {name for bead in versions(change) for name in (bead.spec.assignee, bead.status.agentName) if name}
            controller.enqueue(*((change.key[0], name) for name in names if stores.agents.find(change.key[0], name) is not None))

        def on_lease(change: Change[Lease]) -> None:
            # A heartbeat changes nothing, and a thousand sessions send thirty of them each second: only good news is acted on at once.
            agent = stores.agents.find(*change.key)
            if agent is not None and (change.after is None or _is_doubted(agent)):
                controller.enqueue(change.key)

        def on_rig(change: Change[Rig]) -> None:
            if is_new_spec(change):
                controller.enqueue(*(key_of(agent) for agent in stores.agents.by("rig", at(*change.key))))

        def on_rule(change: Change[Any]) -> None:
            if is_new_verdict(change):
                controller.enqueue(*(key_of(agent) for agent in stores.agents.all(change.key[0])))

        stores.agents.subscribe(on_agent)
        stores.pods.subscribe(on_pod)
        stores.leases.subscribe(on_lease)
        stores.beads.subscribe(on_bead)
        stores.rigs.subscribe(on_rig)
        stores.profiles.subscribe(on_rule)
        stores.towns.subscribe(on_rule)


def _is_doubted(agent: Agent) -> bool:
    told = agent.status.conditions
    return conditions.is_true(told, conditions.SUSPECT) or conditions.is_true(told, conditions.STALLED)

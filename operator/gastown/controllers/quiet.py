"""Rigs, profiles and the town: quiet kinds, whose wiring is short enough for one module."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gastown.actions import Key
from gastown.api import town
from gastown.api.agent import Agent
from gastown.api.usage import Usage
from gastown.controllers.changes import is_new_spec, is_new_verdict, key_of, versions
from gastown.controllers.stores import Stores, at
from gastown.decide.profile import ProfileSeen
from gastown.decide.rig import RigSeen
from gastown.decide.town import TownSeen
from gastown.decide.usage import added
from gastown.runtime.controller import Controller
from gastown.runtime.store import Change

# Counting a town costs a pass over it, and its roll-up is written no oftener than this anyway.
COUNT_SECONDS = 5.0


class RigWiring:
    """Builds the input of `decide/rig.py`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def observe(self, key: Key) -> RigSeen | None:
        """All that bears on the rig; None when it is gone."""
        stores, (namespace, name) = self._stores, key
        rig = stores.rigs.find(namespace, name)
        if rig is None:
            return None
        return RigSeen(
            rig=rig,
            others=tuple(other for other in stores.rigs.all(namespace) if other.metadata.name != name),
            agents=tuple(stores.agents.by("rig", at(*key))),
            town=stores.town(namespace),
            profiles=stores.profiles_by_name(namespace),
        )

    def wire(self, controller: Controller[RigSeen]) -> None:
        """Subscribe to what bears on rigs."""
        stores = self._stores

        def on_rig(change: Change[Any]) -> None:
            controller.enqueue(change.key)
            if change.before is None or change.after is None:
                on_rule(change)

        def on_rule(change: Change[Any]) -> None:
            if is_new_verdict(change):
                controller.enqueue(*(key_of(rig) for rig in stores.rigs.all(change.key[0])))

        def on_agent(change: Change[Agent]) -> None:
            if _phase(change.before) != _phase(change.after) or is_new_spec(change):
                controller.enqueue(*((change.key[0], agent.spec.rigName) for agent in versions(change)))

        stores.rigs.subscribe(on_rig)
        stores.agents.subscribe(on_agent)
        stores.towns.subscribe(on_rule)
        stores.profiles.subscribe(on_rule)


class ProfileWiring:
    """Builds the input of `decide/profile.py`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def observe(self, key: Key) -> ProfileSeen | None:
        """All that bears on the profile; None when it is gone."""
        profile = self._stores.profiles.find(*key)
        return None if profile is None else ProfileSeen(profile, len(self._stores.agents.by("profile", at(*key))))

    def wire(self, controller: Controller[ProfileSeen]) -> None:
        """Subscribe to what bears on profiles."""

        def on_profile(change: Change[Any]) -> None:
            controller.enqueue(change.key)

        def on_agent(change: Change[Agent]) -> None:
            if is_new_spec(change):
                names = {agent.spec.profileName for agent in versions(change)} - {""}
                controller.enqueue(*((change.key[0], name) for name in names))

        self._stores.profiles.subscribe(on_profile)
        self._stores.agents.subscribe(on_agent)


class TownWiring:
    """Builds the input of `decide/town.py`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def observe(self, key: Key) -> TownSeen | None:
        """The counts of the namespace; None when it has no Town."""
        stores, (namespace, _) = self._stores, key
        subject = stores.town(namespace)
        if subject is None:
            return None
        agents = stores.agents.all(namespace)
        usage = Usage()
        for agent in agents:
            usage = added(usage, agent.status.usage)
        return TownSeen(
            town=subject,
            rigs=len(stores.rigs.all(namespace)),
            beads_by_phase=Counter(bead.status.phase for bead in stores.beads.all(namespace)),
            agents_by_phase=Counter(agent.status.phase for agent in agents),
            convoys_by_phase=Counter(convoy.status.phase for convoy in stores.convoys.all(namespace)),
            usage=usage,
        )

    def wire(self, controller: Controller[TownSeen]) -> None:
        """Subscribe to what is counted."""
        stores = self._stores

        def on_town(change: Change[Any]) -> None:
            controller.enqueue(change.key)

        def on_counted(change: Change[Any]) -> None:
            if _phase(change.before) != _phase(change.after):
                controller.enqueue_after((change.key[0], town.NAME), COUNT_SECONDS)

        stores.towns.subscribe(on_town)
        for store in (stores.beads, stores.agents, stores.convoys, stores.rigs):
            store.subscribe(on_counted)


def _phase(value: Any) -> object:
    return None if value is None else value.status.phase

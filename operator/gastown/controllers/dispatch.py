"""The dispatcher: one key per town, because capacity is the town's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gastown.actions import Action, Key
from gastown.api import town
from gastown.api.bead import Bead
from gastown.controllers.changes import is_new_verdict
from gastown.controllers.stores import Stores, is_startable
from gastown.decide import dispatch, session_end
from gastown.decide.bead_conditions import Waiting
from gastown.decide.dispatch import DispatchSeen
from gastown.runtime.controller import Controller
from gastown.runtime.store import Change

# A plan over more startable beads than this takes tens of milliseconds; then plans are made at most four times a second.
LONG_BACKLOG = 500
LONG_BACKLOG_SECONDS = 0.25


class DispatchWiring:
    """Builds the input of `decide/dispatch.py`, and keeps why beads wait for the bead decider, which alone writes their status.

    Attributes:
        waiting: By bead; lost with the process, and decided anew by the next one.
    """

    def __init__(self, stores: Stores) -> None:
        self.waiting: dict[Key, Waiting] = {}
        self._stores = stores
        self._tell: Callable[[Key], None] | None = None
        self._backlog: dict[Key, int] = {}

    def observe(self, key: Key) -> DispatchSeen | None:
        """The whole town."""
        stores, (namespace, _) = self._stores, key
        startable = tuple(stores.beads.by("startable", namespace))
        self._backlog[key] = len(startable)
        held = tuple(stores.beads.by("held", namespace))
        if not startable and not any(known[0] == namespace for known in self.waiting):
            return None
        pods = (pod for pod in stores.pods.all(namespace) if session_end.bead_name(pod))
        return DispatchSeen(
            namespace=namespace,
            town=stores.town(namespace),
            rigs={rig.metadata.name: rig for rig in stores.rigs.all(namespace)},
            rig_of_prefix=stores.rigs_by_prefix(namespace),
            agents={agent.metadata.name: agent for agent in stores.agents.all(namespace)},
            profiles=stores.profiles_by_name(namespace),
            occupied=frozenset(pod.metadata.name for pod in pods if not session_end.is_over(pod)),
            startable=startable,
            held=held,
            convoys={bead.metadata.name: found for bead in (*startable, *held) if (found := stores.convoys_of(bead))},
        )

    def decide(self, seen: DispatchSeen, now: float) -> Sequence[Action]:
        """The plan's actions; why the others wait is kept, and told to their decider when it changed."""
        plan = dispatch.plan(seen)
        changed = {key for key in self.waiting if key[0] == seen.namespace and key[1] not in plan.waiting}
        for key in changed:
            del self.waiting[key]
        for name, (reason, message) in plan.waiting.items():
            before = self.waiting.get((seen.namespace, name))
            if before is None or (before.reason, before.message) != (reason, message):
                self.waiting[seen.namespace, name] = Waiting(reason, message, now)
                changed.add((seen.namespace, name))
        if self._tell is not None:
            for key in changed:
                self._tell(key)
        return dispatch.actions_of(plan)

    def wire(self, controller: Controller[DispatchSeen], tell: Callable[[Key], None]) -> None:
        """Subscribe to what bears on dispatching.

        Args:
            tell: Wakes a bead whose reason to wait changed.
        """
        self._tell = tell
        stores = self._stores

        def look(namespace: str) -> None:
            key = (namespace, town.NAME)
            if self._backlog.get(key, 0) > LONG_BACKLOG:
                controller.enqueue_after(key, LONG_BACKLOG_SECONDS)
            else:
                controller.enqueue(key)

        def on_bead(change: Change[Bead]) -> None:
            if _bears(change.before) != _bears(change.after):
                look(change.key[0])

        def on_any(change: Change[Any]) -> None:
            look(change.key[0])

        def on_rule(change: Change[Any]) -> None:
            if is_new_verdict(change):
                look(change.key[0])

        stores.beads.subscribe(on_bead)
        stores.agents.subscribe(on_any)
        stores.pods.subscribe(on_any)
        for store in (stores.towns, stores.rigs, stores.profiles, stores.convoys):
            store.subscribe(on_rule)


def _bears(bead: Bead | None) -> object:
    """What of a bead the dispatcher looks at."""
    return None if bead is None else (is_startable(bead), bead.spec.assignee, bead.spec.state, bead.status.phase, bead.spec.priority)

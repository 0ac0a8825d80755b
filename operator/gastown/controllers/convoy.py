"""Convoys: what bears on one, and whose change may change what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from gastown.actions import Action, Key
from gastown.api.bead import Bead
from gastown.api.convoy import Convoy
from gastown.api.rig import Rig
from gastown.controllers.changes import is_new_spec, key_of, versions
from gastown.controllers.stores import Stores
from gastown.decide import convoy as decider
from gastown.decide import outcomes
from gastown.decide.convoy import ConvoySeen
from gastown.decide.convoy_plan import template_names
from gastown.runtime.controller import Controller
from gastown.runtime.store import Change

# Counting a convoy costs a pass over its members (12 us each); what is not about being done can wait this long, and so can all that
# happens in a large convoy.
COUNT_SECONDS = 1.0
LARGE = 500


def decide(seen: ConvoySeen, now: float) -> Sequence[Action] | Awaitable[Sequence[Action]]:
    """As `decide/convoy.py`; a large one in a thread, since 5,000 members with 256 dependencies each take seconds, and heartbeats,
    probes and everybody else's decisions wait for the event loop."""
    spec = seen.convoy.spec
    if len(spec.beads) + len(spec.templates) <= LARGE:
        return decider.decide(seen, now)
    return asyncio.to_thread(decider.decide, seen, now)


class ConvoyWiring:
    """Builds the input of `decide/convoy.py` and wakes the convoys that a change concerns."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def observe(self, key: Key) -> ConvoySeen | None:
        """All that bears on the convoy; None when it is gone."""
        convoy = self._stores.convoys.find(*key)
        if convoy is None:
            return None
        rigs = {rig.metadata.name: rig for rig in self._stores.rigs.all(key[0])}
        found = {bead.metadata.name: bead for bead in self._stores.members_of(convoy)}
        # Somebody else may have made a bead of such a name; it carries no label of ours.
        named = (self._stores.beads.find(key[0], name) for name in template_names(convoy, rigs).values() if name not in found)
        return ConvoySeen(convoy=convoy, beads={**found, **{bead.metadata.name: bead for bead in named if bead is not None}}, rigs=rigs)

    def wire(self, controller: Controller[ConvoySeen]) -> None:
        """Subscribe to what bears on convoys."""
        stores = self._stores

        def on_convoy(change: Change[Convoy]) -> None:
            controller.enqueue(change.key)

        def on_bead(change: Change[Bead]) -> None:
            decides = _weight(change.before) != _weight(change.after)
            for convoy in {key_of(convoy): convoy for bead in versions(change) for convoy in stores.convoys_of(bead)}.values():
                if decides and len(convoy.spec.beads) + len(convoy.spec.templates) <= LARGE:
                    controller.enqueue(key_of(convoy))
                else:
                    controller.enqueue_after(key_of(convoy), COUNT_SECONDS)

        def on_rig(change: Change[Rig]) -> None:
            if is_new_spec(change):
                controller.enqueue(*(key_of(convoy) for convoy in stores.convoys.all(change.key[0])))

        stores.convoys.subscribe(on_convoy)
        stores.beads.subscribe(on_bead)
        stores.rigs.subscribe(on_rig)


def _weight(bead: Bead | None) -> object:
    """What of a member decides about the convoy's phase."""
    return None if bead is None else (outcomes.is_done(bead), outcomes.is_closed_in_vain(bead), outcomes.is_given_up(bead))

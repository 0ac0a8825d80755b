"""MergeRequests: what bears on condition Verified, and whose change may change it."""

from __future__ import annotations

from gastown.actions import Key
from gastown.api.bead import Bead
from gastown.api.merge_request import MergeRequest
from gastown.controllers.changes import is_new_spec, key_of, versions
from gastown.controllers.stores import Stores, at
from gastown.decide.merge_request import MergeRequestSeen
from gastown.runtime.controller import Controller
from gastown.runtime.store import Change


class MergeRequestWiring:
    """Builds the input of `decide/merge_request.py` and wakes the requests that a change concerns."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def observe(self, key: Key) -> MergeRequestSeen | None:
        """All that bears on the request; None when it is gone."""
        stores, (namespace, name) = self._stores, key
        mr = stores.merge_requests.find(namespace, name)
        if mr is None:
            return None
        same_bead = stores.merge_requests.by("bead", at(namespace, mr.spec.beadName))
        return MergeRequestSeen(
            merge_request=mr,
            bead=stores.beads.find(namespace, mr.spec.beadName),
            others=tuple(other for other in same_bead if other.metadata.name != name),
        )

    def wire(self, controller: Controller[MergeRequestSeen]) -> None:
        """Subscribe to what bears on MergeRequests."""
        stores = self._stores

        def of_bead(namespace: str, bead_name: str) -> list[Key]:
            return [key_of(mr) for mr in stores.merge_requests.by("bead", at(namespace, bead_name))]

        def on_merge_request(change: Change[MergeRequest]) -> None:
            controller.enqueue(change.key)
            if change.before is None or change.after is None:
                controller.enqueue(*(key for mr in versions(change) for key in of_bead(change.key[0], mr.spec.beadName)))

        def on_bead(change: Change[Bead]) -> None:
            if is_new_spec(change):
                controller.enqueue(*of_bead(*change.key))

        stores.merge_requests.subscribe(on_merge_request)
        stores.beads.subscribe(on_bead)

"""A process that dies between any two writes, and the next one that goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gastown.actions import Action, Bind, Create, Emit, PatchSpec, SetStatus
from gastown.api.bead import Bead
from gastown.api.kinds import BEAD, LEASE, Kind
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from support.cluster import Cluster
from support.executor_builder import Bench, bench

pytestmark = pytest.mark.cluster


class Killed(BaseException):
    """Stands for the end of the process: nothing in the product may catch it."""


class DoomedClient(Client):
    """Dies at its n-th write, before it is sent or before its answer is read."""

    writes_left = 0
    answers_too = False

    async def _call(self, verb: str, kind: Kind, method: str, *rest: Any, **more: Any) -> bytes:
        if method == "GET":
            return await super()._call(verb, kind, method, *rest, **more)
        self.writes_left -= 1
        if self.writes_left < 0 and not self.answers_too:
            raise Killed
        answer = await super()._call(verb, kind, method, *rest, **more)
        if self.writes_left < 0:
            raise Killed
        return answer


def decide(bead: Bead, lease_exists: bool) -> list[Action]:
    """A decider in small: bind, make what belongs to the binding, tell."""
    if not bead.spec.assignee:
        return [Bind(bead, f"toast-{bead.metadata.name}")]
    actions: list[Action] = []
    if not lease_exists:
        owner = {"apiVersion": BEAD.api_version, "kind": "Bead", "name": bead.metadata.name, "uid": bead.metadata.uid, "controller": True}
        metadata = {"name": bead.spec.assignee, "namespace": bead.metadata.namespace, "ownerReferences": [owner]}
        actions.append(Create({"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": {}}))
    actions += [PatchSpec(bead, {"notes": "bound"}), SetStatus(bead, {"phase": "Hooked"}), Emit(bead, "Normal", "Bound", "to toast")]
    return actions


async def leases_of(it: Bench, bead: Bead) -> list[str]:
    listed = (await it.client.list_all(LEASE, bead.metadata.namespace)).items
    return [item.metadata.name for item in listed if item.metadata.ownerReferences[0].uid == bead.metadata.uid]


async def live(configuration: Configuration, namespace: str, name: str, writes: int, *, answers_too: bool) -> bool:
    """One life of a process; True when there was nothing left to write."""
    async with bench(configuration, client_type=DoomedClient) as it:
        assert isinstance(it.client, DoomedClient)
        it.client.writes_left, it.client.answers_too = writes, answers_too
        while True:
            bead = await it.see(namespace, name)
            try:
                outcome = await it.do(*decide(bead, bool(await leases_of(it, bead))))
            except Killed:
                return False
            if not outcome.writes:
                return True


async def live_thrice(configuration: Configuration, namespace: str, name: str, first: int, second: int, *, answers_too: bool) -> None:
    async with bench(configuration) as it:
        await it.make(namespace, name)
        await live(configuration, namespace, name, first, answers_too=answers_too)
        await live(configuration, namespace, name, second, answers_too=answers_too)
        assert await live(configuration, namespace, name, 99, answers_too=answers_too)
        bead = await it.see(namespace, name)
        assert (bead.spec.assignee, bead.spec.notes, bead.status.phase) == (f"toast-{name}", "bound", "Hooked")
        assert await leases_of(it, bead) == [f"toast-{name}"]


@pytest.mark.parametrize("answers_too", [False, True], ids=["before the write", "before the answer"])
def test_killed_twice_at_any_write_it_ends_as_if_it_had_lived(api_server: Cluster, namespace: str, answers_too: bool) -> None:
    configuration = api_server.configuration()
    for first in range(5):
        for second in range(3):
            asyncio.run(live_thrice(configuration, namespace, f"gp-{first}{second}", first, second, answers_too=answers_too))

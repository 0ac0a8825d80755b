"""The executor and the API server: what is written, what is not, and what is told about it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from gastown.actions import NORMAL, Apply, Bind, Create, Delete, Emit, PatchSpec, SetStatus, Together, Wake
from gastown.api.bead import Bead
from gastown.api.conditions import find_condition
from gastown.api.kinds import BEAD, EVENT, LEASE, Kind
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from gastown.kube.errors import Unavailable
from gastown.runtime.executor import ASSUME_SECONDS, ROLL_UP_SECONDS, Outcome
from support.cluster import Cluster
from support.executor_builder import Bench, bench, until, with_bench
from support.proxy import Proxy, proxy_to

pytestmark = pytest.mark.cluster


@pytest.fixture
def server(api_server: Cluster) -> Configuration:
    return api_server.configuration()


@pytest.fixture
def proxy(server: Configuration) -> Iterator[Proxy]:
    with proxy_to(server) as started:
        yield started


def lease(namespace: str, name: str, owner: Bead, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    """Something small that an object owns."""
    reference = {"apiVersion": BEAD.api_version, "kind": "Bead", "name": owner.metadata.name, "uid": owner.metadata.uid, "controller": True}
    metadata = {"name": name, "namespace": namespace, "ownerReferences": [reference]}
    return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec or {}}


def test_what_is_there_already_counts_as_created(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        owner = await it.make(namespace, "gp-1")
        assert (await it.do(Create(lease(namespace, "toast", owner)))).writes == 1
        again = await it.do(Create(lease(namespace, "toast", owner)))
        assert (again.writes, again.stale, again.problem) == (0, False, "")

    with_bench(server, act)


def test_an_object_of_that_name_that_belongs_to_another_is_reported_and_left_alone(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        mine, other = await it.make(namespace, "gp-1"), await it.make(namespace, "gp-2")
        await it.do(Create(lease(namespace, "toast", other, {"holderIdentity": "other"})))
        outcome = await it.do(Create(lease(namespace, "toast", mine)), PatchSpec(mine, {"notes": "after"}))
        assert outcome.problem == (
            f"Lease {namespace}/toast already exists and belongs to Bead gp-2, not to Bead gp-1; delete or rename it"
        )
        assert (await it.client.get(LEASE, namespace, "toast")).spec.holderIdentity == "other"
        assert (await it.see(namespace, "gp-1")).spec.notes == ""

    with_bench(server, act)


def test_an_object_that_is_on_its_way_out_is_looked_at_again(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        owner = await it.make(namespace, "gp-1")
        body = lease(namespace, "toast", owner)
        body["metadata"]["finalizers"] = ["gastown.dev/test"]
        await it.do(Create(body))
        going = await it.client.get(LEASE, namespace, "toast")
        await it.do(Delete(LEASE, namespace, "toast", going.metadata.uid))
        assert (await it.do(Create(lease(namespace, "toast", owner)))).stale
        await it.client.merge_patch(LEASE, namespace, "toast", {"metadata": {"finalizers": None}})

    with_bench(server, act)


def test_of_two_decisions_on_the_same_version_one_is_stale(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        first = await it.do(SetStatus(seen, {"phase": "Ready"}))
        second = await it.do(SetStatus(seen, {"phase": "Blocked"}))
        assert (first.writes, first.stale) == (1, False)
        assert (second.writes, second.stale) == (0, True)
        assert (await it.client.get(BEAD, namespace, "gp-1")).status.phase == "Ready"

    with_bench(server, act, stored=())


def test_a_decision_known_to_be_stale_is_not_even_sent(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        await it.do(SetStatus(seen, {"phase": "Ready"}))  # its answer is in the store
        sent = it.sent()
        assert (await it.do(SetStatus(seen, {"phase": "Blocked"}))).stale
        assert it.sent() == sent

    with_bench(server, act)


def test_the_answer_to_a_write_is_in_the_store_before_the_watch_has_it(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        await it.do(SetStatus(seen, {"phase": "Ready"}))
        stored = it.beads.find(namespace, "gp-1")
        assert stored is not None
        assert stored.status.phase == "Ready"

    with_bench(server, act)


def test_a_change_that_is_none_is_not_sent(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        await it.make(namespace, "gp-1", labels=["a"])
        seen = await it.see(namespace, "gp-1")
        await it.do(SetStatus(seen, {"phase": "Ready", "attempts": 1}))
        seen = await it.see(namespace, "gp-1")
        sent = it.sent()
        outcome = await it.do(
            SetStatus(seen, seen.status),
            SetStatus(seen, {"phase": "Ready", "blockedBy": None, "conditions": []}),
            PatchSpec(seen, {"labels": ["a"], "assignee": ""}, annotations={"gone": None}),
            Bind(dataclasses.replace(seen, spec=dataclasses.replace(seen.spec, assignee="toast")), "toast"),
        )
        assert (outcome.writes, outcome.stale, it.sent()) == (0, False, sent)

    with_bench(server, act)


def test_a_whole_status_is_sent_as_its_difference(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        await it.do(SetStatus(seen, {"phase": "Ready", "blockedBy": ["gp-9"], "branch": "b"}))
        seen = await it.see(namespace, "gp-1")
        await it.do(SetStatus(seen, dataclasses.replace(seen.status, phase="Blocked", blockedBy=[])))
        after = (await it.client.get(BEAD, namespace, "gp-1")).status
        assert (after.phase, after.blockedBy, after.branch) == ("Blocked", [], "b")

    with_bench(server, act)


def test_the_actions_of_one_decision_build_on_each_other(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        outcome = await it.do(
            PatchSpec(seen, {"state": "closed", "closeReason": "landed"}, annotations={"gastown.dev/deleted-by": "me"}),
            SetStatus(seen, {"phase": "Landed"}),
        )
        assert (outcome.writes, outcome.stale) == (2, False)
        after = await it.client.get(BEAD, namespace, "gp-1")
        assert (after.spec.state, after.status.phase, after.metadata.annotations["gastown.dev/deleted-by"]) == ("closed", "Landed", "me")

    with_bench(server, act)


def test_a_decision_stops_where_the_world_moved_on(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        await it.client.merge_patch(BEAD, namespace, "gp-1", {"spec": {"priority": 0}})
        outcome = await it.do(PatchSpec(seen, {"state": "closed"}), Create(lease(namespace, "toast", seen)), Wake(5.0))
        assert (outcome.writes, outcome.stale, outcome.wakes) == (0, True, ())
        assert (await it.client.list_all(LEASE, namespace)).items == []

    with_bench(server, act)


def test_what_the_server_refuses_is_told_in_its_words(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        outcome = await it.do(PatchSpec(seen, {"closeReason": "landed"}))
        assert "closeReason is for closed beads" in outcome.problem

    with_bench(server, act)


def test_only_the_very_object_that_was_seen_is_deleted(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        first = await it.make(namespace, "gp-1")
        await it.client.delete(BEAD, namespace, "gp-1")
        await it.make(namespace, "gp-1")
        assert (await it.do(Delete(BEAD, namespace, "gp-1", first.metadata.uid))).stale
        second = await it.see(namespace, "gp-1")
        assert (await it.do(Delete(BEAD, namespace, "gp-1", second.metadata.uid))).writes == 1
        sent = it.sent()
        assert (await it.do(Delete(BEAD, namespace, "gp-1", second.metadata.uid))).writes == 0
        assert it.sent() == sent
        it.clock.now += 60
        gone = await it.do(Delete(BEAD, namespace, "gp-1", second.metadata.uid))
        assert (gone.writes, gone.stale, gone.problem) == (0, False, "")

    with_bench(server, act)


def test_each_manager_keeps_its_own_condition(server: Configuration, namespace: str) -> None:
    def condition(type_: str) -> dict[str, Any]:
        told = {"type": type_, "status": "True", "reason": "Told", "message": "", "lastTransitionTime": "2026-11-21T12:00:00Z"}
        metadata = {"name": "gp-1", "namespace": namespace}
        return {"apiVersion": BEAD.api_version, "kind": "Bead", "metadata": metadata, "status": {"conditions": [told]}}

    async def act(it: Bench) -> None:
        await it.make(namespace, "gp-1")
        await it.do(Apply(condition("Ready"), "one", subresource="status"), Apply(condition("Submitted"), "two", subresource="status"))
        seen = await it.see(namespace, "gp-1")
        assert find_condition(seen.status.conditions, "Ready") is not None
        assert find_condition(seen.status.conditions, "Submitted") is not None
        sent = it.sent()
        assert (await it.do(Apply(condition("Submitted"), "two", seen=seen, subresource="status"))).writes == 0
        assert it.sent() == sent

    with_bench(server, act)


def test_a_roll_up_is_written_every_five_seconds_but_a_phase_at_once(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        await it.make(namespace, "gp-1")

        async def roll_up(**status: Any) -> tuple[int, list[float]]:
            outcome = await it.do(SetStatus(await it.see(namespace, "gp-1"), status, roll_up=True))
            return outcome.writes, [wake.after_seconds for wake in outcome.wakes]

        assert await roll_up(attempts=1) == (1, [])
        it.clock.now += 2
        assert await roll_up(attempts=2) == (0, [ROLL_UP_SECONDS - 2])
        assert await roll_up(phase="Ready", attempts=2) == (1, [])
        it.clock.now += ROLL_UP_SECONDS
        assert await roll_up(attempts=3) == (1, [])

    with_bench(server, act)


class HeldClient(Client):
    """Lets patches through when it is opened, and remembers their order."""

    open: asyncio.Event
    order: list[str]

    async def merge_patch(self, kind: Kind, namespace: str, name: str, *arguments: Any, **options: Any) -> Any:
        self.order.append(name)
        await self.open.wait()
        return await super().merge_patch(kind, namespace, name, *arguments, **options)


def test_where_writes_queue_a_roll_up_lets_a_new_phase_pass(server: Configuration, namespace: str) -> None:
    async def act() -> list[str]:
        async with bench(server, client_type=HeldClient) as made:
            client = made.client
            assert isinstance(client, HeldClient)
            client.open, client.order = asyncio.Event(), []
            seen = [await made.make(namespace, f"gp-{number}") for number in range(6)]
            async with asyncio.TaskGroup() as group:
                for bead in seen[:4]:  # as many as may be in flight
                    group.create_task(made.do(SetStatus(bead, {"phase": "Blocked"})))
                await until(lambda: len(client.order) == 4)
                group.create_task(made.do(SetStatus(seen[4], {"attempts": 1}, roll_up=True)))
                await until(lambda: made.waiting() == 1)
                group.create_task(made.do(SetStatus(seen[5], {"phase": "Ready", "attempts": 1}, roll_up=True)))
                await until(lambda: made.waiting() == 2)
                client.open.set()
            return client.order[4:]

    assert asyncio.run(act()) == ["gp-5", "gp-4"]


def test_an_event_is_posted_only_with_the_change_it_tells_of(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        await it.make(namespace, "gp-1")
        for _ in range(3):
            seen = await it.see(namespace, "gp-1")
            await it.do(SetStatus(seen, {"phase": "Ready"}), Emit(seen, NORMAL, "BeadReady", "nothing blocks it"))
        (event,) = (await it.client.list_all(EVENT, namespace, raw=True)).items
        assert (event["reason"], event["message"], event["involvedObject"]["name"]) == ("BeadReady", "nothing blocks it", "gp-1")
        assert (event["source"]["component"], event["type"]) == ("gastown-operator", "Normal")

    with_bench(server, act)


def test_an_event_that_is_refused_does_not_stop_the_decision(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        outcome = await it.do(Emit(seen, NORMAL, "R" * 200, "too long a reason"), SetStatus(seen, {"phase": "Ready"}))
        assert (outcome.writes, outcome.problem) == (1, "")

    with_bench(server, act)


def test_of_eight_operators_that_bind_exactly_one_wins(server: Configuration, namespace: str) -> None:
    async def one(start: asyncio.Barrier, number: int) -> bool:
        async with bench(server) as it:
            seen = await it.see(namespace, "gp-1")
            await start.wait()
            outcome = await it.do(Bind(seen, f"agent-{number}"))
            stored = it.beads.find(namespace, "gp-1")
            assert stored is not None
            assert (stored.spec.assignee == f"agent-{number}") is (outcome.writes == 1)  # the loser's store does not keep its wish
            return outcome.writes == 1

    async def act(it: Bench) -> None:
        await it.make(namespace, "gp-1")
        start = asyncio.Barrier(8)
        assert sum(await asyncio.gather(*(one(start, number) for number in range(8)))) == 1

    with_bench(server, act)


def test_a_binding_counts_as_made_while_it_is_under_way(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        await it.make(namespace, "gp-1")
        seen = await it.see(namespace, "gp-1")
        binding = asyncio.create_task(it.do(Bind(seen, "toast")))
        while not it.beads.by("assignee", "toast"):
            assert not binding.done()
            await asyncio.sleep(0)
        assert it.beads.version_of(namespace, "gp-1") == int(seen.metadata.resourceVersion)
        assert (await binding).writes == 1
        assert it.beads.version_of(namespace, "gp-1") > int(seen.metadata.resourceVersion)

    with_bench(server, act)


def test_a_bead_held_by_another_is_not_bound(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        await it.make(namespace, "gp-1", assignee="nux")
        assert (await it.do(Bind(await it.see(namespace, "gp-1"), "toast"))).stale

    with_bench(server, act)


def test_a_binding_whose_answer_was_lost_counts_as_made_until_the_watch_tells(proxy: Proxy, namespace: str) -> None:
    async def act(it: Bench) -> None:
        await it.make(namespace, "gp-1")
        seen = await it.see(namespace, "gp-1")
        proxy.lose_answers = 1
        with pytest.raises(Unavailable):
            await it.do(Bind(seen, "toast"))
        assert it.beads.is_assumed(namespace, "gp-1")
        assert len(it.beads.by("assignee", "toast")) == 1
        assert (await it.see(namespace, "gp-1")).spec.assignee == "toast"
        assert not it.beads.is_assumed(namespace, "gp-1")

    with_bench(proxy.configuration, act)


def test_a_binding_that_nothing_confirms_is_given_up_after_a_while(proxy: Proxy, namespace: str) -> None:
    async def act(it: Bench) -> None:
        await it.make(namespace, "gp-1")
        seen = await it.see(namespace, "gp-1")
        proxy.lose_answers = 1
        with pytest.raises(Unavailable):
            await it.do(Bind(seen, "toast"))
        it.clock.now += ASSUME_SECONDS
        it.beads.expire(it.clock.now)
        assert it.beads.by("assignee", "toast") == []

    with_bench(proxy.configuration, act)


def test_a_namespace_that_is_missing_is_told(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        owner = await it.make(namespace, "gp-1")
        assert 'namespaces "nowhere" not found' in (await it.do(Create(lease("nowhere", "toast", owner)))).problem

    with_bench(server, act)


def test_a_server_that_is_away_is_an_error_to_come_back_for(proxy: Proxy, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        proxy.is_down = True
        with pytest.raises(Unavailable):
            await it.do(SetStatus(seen, {"phase": "Ready"}))
        proxy.is_down = False
        assert (await it.do(SetStatus(seen, {"phase": "Ready"}))).writes == 1

    with_bench(proxy.configuration, act)


def test_writes_are_counted_by_kind_verb_and_answer(server: Configuration, namespace: str) -> None:
    async def act(it: Bench) -> None:
        seen = await it.make(namespace, "gp-1")
        await it.do(SetStatus(seen, {"phase": "Ready"}), Create(lease(namespace, "toast", seen)), Create(lease(namespace, "toast", seen)))
        text = it.metrics.text()
        assert 'test_writes_total{kind="Bead",verb="patch_status",result="ok"} 1' in text
        assert 'test_writes_total{kind="Lease",verb="create",result="ok"} 1' in text
        assert 'test_writes_total{kind="Lease",verb="create",result="AlreadyExists"} 1' in text
        assert 'test_actions_total{action="Create",result="unchanged"} 1' in text

    with_bench(server, act)


def test_a_kind_nobody_declared_is_named(server: Configuration) -> None:
    async def act(it: Bench) -> None:
        with pytest.raises(ValueError, match="v1 Secret is no kind this executor was given"):
            await it.do(Create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "y"}}))

    with_bench(server, act)


class MeetingClient(Client):
    """Sends no patch before three are under way."""

    meeting: asyncio.Barrier

    async def merge_patch(self, *arguments: Any, **options: Any) -> Any:
        await self.meeting.wait()
        return await super().merge_patch(*arguments, **options)


def test_what_does_not_depend_on_each_other_is_under_way_at_the_same_time(server: Configuration, namespace: str) -> None:
    async def act() -> tuple[Outcome, set[str]]:
        async with bench(server, client_type=MeetingClient) as made:
            assert isinstance(made.client, MeetingClient)
            made.client.meeting = asyncio.Barrier(3)
            seen = [await made.make(namespace, f"gp-{number}") for number in range(3)]
            outcome = await made.do(Together(tuple((Bind(bead, f"agent-{bead.metadata.name}"),) for bead in seen)))
            return outcome, {bead.spec.assignee for bead in await made.beads_of(namespace)}

    outcome, assignees = asyncio.run(act())
    assert (outcome.writes, outcome.stale, outcome.problem) == (3, False, "")
    assert assignees == {"agent-gp-0", "agent-gp-1", "agent-gp-2"}


def test_of_what_is_done_together_one_that_is_refused_or_stale_stops_only_its_own_chain(server: Configuration, namespace: str) -> None:
    async def act(made: Bench) -> tuple[Outcome, dict[str, str]]:
        seen = [await made.make(namespace, f"gp-{number}") for number in range(3)]
        await made.client.merge_patch(BEAD, namespace, "gp-1", {"spec": {"title": "moved on"}})
        unfit = {"apiVersion": BEAD.api_version, "kind": BEAD.name, "metadata": {"name": "Not A Name", "namespace": namespace}}
        chains = ((Create({**unfit, "spec": {"title": "x"}}), Bind(seen[0], "nux")), (Bind(seen[1], "ace"),), (Bind(seen[2], "slit"),))
        outcome = await made.do(Together(chains))
        return outcome, {bead.metadata.name: bead.spec.assignee for bead in await made.beads_of(namespace)}

    outcome, assignees = with_bench(server, act)
    assert (outcome.writes, outcome.stale) == (1, True)
    assert "Not A Name" in outcome.problem
    assert assignees == {"gp-0": "", "gp-1": "", "gp-2": "slit"}

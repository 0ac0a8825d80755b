"""Wires the merge queue to the API: which change wakes which rig, git in a thread, slow remotes beside the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gastown.actions import Action, Key, Wake
from gastown.api import conditions, town
from gastown.api import merge_request as mr_api
from gastown.api.conditions import is_true
from gastown.api.gate_run import GateRun
from gastown.api.kinds import GATE_RUN, MERGE_REQUEST, RIG, TOWN, Kind
from gastown.api.merge_request import MergeRequest
from gastown.api.rig import Rig
from gastown.api.town import Retention, Town
from gastown.decide.times import time_text
from gastown.processes.refinery import statuses
from gastown.processes.refinery.adoption import Adopted, adopt, publish
from gastown.processes.refinery.rig_queue import Look, MergeQueue, Seen
from gastown.processes.refinery.slow_calls import SlowCalls
from gastown.runtime.store import Change, Store
from gastown_git.ref_names import ObjectId
from gastown_git.signed_url import tree_url

REMOTE_RETRY_SECONDS = 30.0
# A head whose push is not seen yet, or a candidate whose gate slot is taken: nothing will wake us for some of these.
LOOK_AGAIN_SECONDS = 30.0
# A gate Job may wait long for a node; after this its link is dead and the gate run ends as an error.
LINK_SECONDS = 6 * 3600


@dataclass(frozen=True, slots=True)
class Settings:
    """How this refinery is set up.

    Attributes:
        data: Folder of all repositories.
        repo_url: Address of the repo-server as gate Jobs reach it.
        tree_key: Signs links to trees.
        local_upstreams: Folder below which file:// upstreams are allowed; None allows none.
    """

    data: Path
    repo_url: str
    tree_key: bytes
    local_upstreams: Path | None


class Stores:
    """What the refinery watches."""

    def __init__(self) -> None:
        self.rigs: Store[Rig] = Store(RIG)
        self.towns: Store[Town] = Store(TOWN)
        self.merge_requests: Store[MergeRequest] = Store(MERGE_REQUEST, {"rig": lambda mr: [f"{mr.metadata.namespace}/{mr.spec.rigName}"]})
        self.gate_runs: Store[GateRun] = Store(GATE_RUN, {"rig": lambda run: [f"{run.metadata.namespace}/{run.spec.rigName}"]})

    def by_kind(self) -> dict[Kind, Store[Any]]:
        """For the executor, which puts the answers to writes there."""
        return {RIG: self.rigs, TOWN: self.towns, MERGE_REQUEST: self.merge_requests, GATE_RUN: self.gate_runs}

    def wake(self, enqueue: Callable[..., None]) -> None:
        """Enqueue the rigs that a change concerns."""

        def on_rig(change: Change[Rig]) -> None:
            enqueue(change.key)

        def on_member(change: Change[Any]) -> None:
            value = change.after or change.before
            assert value is not None
            enqueue((change.key[0], value.spec.rigName))

        def on_town(change: Change[Town]) -> None:
            enqueue(*((rig.metadata.namespace, rig.metadata.name) for rig in self.rigs.all(change.key[0])))

        self.rigs.subscribe(on_rig)
        self.towns.subscribe(on_town)
        self.merge_requests.subscribe(on_member)
        self.gate_runs.subscribe(on_member)


@dataclass(frozen=True, slots=True)
class _Push:
    """What became of pushing main, as condition Published tells it."""

    main: ObjectId
    time: float
    status: str
    reason: str
    message: str


class RigDecider:
    """Observes and decides for one rig at a time; keeps a MergeQueue per rig.

    Args:
        enqueue: Wakes a rig when a fetch or push is through.
        clock: Unix seconds of this machine, by which the repo-server beside us takes signed links.
        monotonic: Seconds that nobody sets, for retries.
    """

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        enqueue: Callable[[Key], None],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._clock = clock
        self._monotonic = monotonic
        self._queues: dict[Key, MergeQueue] = {}
        self._adopted: dict[Key, Adopted] = {}
        self._adoptions: SlowCalls[Adopted] = SlowCalls("adopt", enqueue)
        self._pushes: SlowCalls[_Push] = SlowCalls("publish", enqueue)
        self._pushed: dict[Key, _Push] = {}

    def observe(self, key: Key) -> Seen | None:
        """What the stores hold about a rig; None when it is gone."""
        rig = self._stores.rigs.find(*key)
        if rig is None:
            self._queues.pop(key, None)
            return None
        found = self._stores.towns.find(key[0], town.NAME)
        return Seen(
            rig=rig,
            merge_requests=self._stores.merge_requests.by("rig", f"{key[0]}/{key[1]}"),
            gate_runs=self._stores.gate_runs.by("rig", f"{key[0]}/{key[1]}"),
            is_stopped=found is not None and found.spec.emergencyStop.mode == town.STOP_ON,
            gate_run_retention_seconds=(found.spec.retention if found is not None else Retention()).gateRunSeconds,
        )

    async def decide(self, seen: Seen, now: float) -> Sequence[Action]:
        """Carry the rig's queue as far as it goes and say so.

        Args:
            now: Unix seconds.
        """
        key = (seen.rig.metadata.namespace, seen.rig.metadata.name)
        adopted = await self._adopt(key, seen.rig)
        if adopted is None:
            return []  # the fetch wakes the rig when it is through
        if adopted.repository is None or not adopted.main:
            told = statuses.apply_rig(seen.rig, seen.rig.status.head, seen.rig.status.queue, adopted.ready, time_text(now))
            return [*([told] if told else []), Wake(REMOTE_RETRY_SECONDS, reason="the upstream may be back, or have the branch")]
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = await asyncio.to_thread(MergeQueue, adopted.repository, self._source_of(key))
        look = await asyncio.to_thread(queue.look, seen, now)
        push = await self._publish(key, queue, seen.rig, look.head.commit)
        return _actions(seen, look, adopted, push, now)

    async def _adopt(self, key: Key, rig: Rig) -> Adopted | None:
        """The rig's repository; tried again at each look until its main exists. None while a fetch is under way."""
        if key not in self._adopted:
            adopted = await self._adoptions.call(key, lambda: adopt(self._settings.data, rig, self._settings.local_upstreams))
            if adopted is None or not adopted.main:
                return adopted
            self._adopted[key] = adopted
        return self._adopted[key]

    async def _publish(self, key: Key, queue: MergeQueue, rig: Rig, main: ObjectId) -> _Push | None:
        """What became of pushing main; None while that is under way."""
        before = self._pushed.get(key)
        waits = before is not None and self._monotonic() < before.time + REMOTE_RETRY_SECONDS
        if before is not None and before.main == main and (before.status == "True" or waits):
            return before

        def push() -> _Push:
            return _Push(main, self._monotonic(), *publish(queue.repository, rig, main, self._settings.local_upstreams))

        pushed = await self._pushes.call(key, push)
        if pushed is not None:
            self._pushed[key] = pushed
        return pushed if pushed is not None and pushed.main == main else None

    def _source_of(self, key: Key) -> Callable[[ObjectId], str]:
        namespace, rig = key

        def source_url(tree: ObjectId) -> str:
            expires = int(self._clock()) + LINK_SECONDS
            return tree_url(self._settings.repo_url, self._settings.tree_key, namespace, rig, tree, expires)

        return source_url


def _actions(seen: Seen, look: Look, adopted: Adopted, push: _Push | None, now: float) -> list[Action]:
    """What is to be told the API after a look."""
    now_time = time_text(now)
    actions: list[Action] = list(look.actions)
    for mr in seen.merge_requests:
        status = look.told.get(mr.metadata.name, mr.status)
        if push is not None and status.phase == mr_api.PHASE_LANDED and not is_true(status.conditions, conditions.PUBLISHED):
            status = statuses.published(mr, status, (push.status, push.reason, push.message), now_time)
        if (told := statuses.apply_merge_request(mr, status, f"{status.phase} {status.candidate[:12]}")) is not None:
            actions.append(told)
    if (rig_told := statuses.apply_rig(seen.rig, look.head, look.queue, adopted.ready, now_time)) is not None:
        actions.append(rig_told)
    if push is not None and push.status == "False" and seen.rig.spec.git.upstream:
        actions.append(Wake(REMOTE_RETRY_SECONDS, reason="the upstream refused main or was away"))
    if look.queue.length:
        actions.append(Wake(LOOK_AGAIN_SECONDS, reason="requests are waiting"))
    return actions

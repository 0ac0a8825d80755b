"""Carries out the actions of deciders; the only writer of the operator.

Every write is conditional: on the version that was decided on, on the name being free, or on the uid. So a decision on an old view
changes nothing and is taken again. Answers go into the stores at once, and a binding counts as made from the moment it is sent:
whoever decides next sees it, without waiting for the watch.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from typing import Any

from gastown.actions import (
    Action,
    Apply,
    Bind,
    Create,
    Delete,
    Emit,
    Key,
    KubernetesObject,
    PatchSpec,
    SetStatus,
    Single,
    Together,
    Unchanged,
    Wake,
)
from gastown.api.codec import merge_patch_between, to_dict
from gastown.api.kinds import ALL_KINDS, EVENT, Kind, kind_of
from gastown.kube.aio import Client
from gastown.kube.errors import Advice, AlreadyExists, ApiError, Forbidden, Invalid, NotFound, Unavailable
from gastown.runtime.event_posts import EventLimit, event_body
from gastown.runtime.log import say
from gastown.runtime.metrics import Registry
from gastown.runtime.patches import covers, reduced
from gastown.runtime.store import Store
from gastown.runtime.write_slots import Priority
from gastown.runtime.writer import Writer

logger = logging.getLogger(__name__)

ROLL_UP_SECONDS = 5.0
# How long a binding whose answer never came counts as made: longer than a written object takes to show up in the watch.
ASSUME_SECONDS = 30.0
# A deletion that was accepted is not sent again while the object waits for its grace period.
DELETE_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the actions of one decision.

    Attributes:
        writes: How many changed something.
        stale: The world had moved on; look again, with a short back-off.
        problem: Why an action was refused (RBAC, validation, a foreign object of that name), with object and remedy; "" if none.
            Look again with the ordinary back-off.
        wakes: To be enqueued; roll-ups that were put off are among them.
        refused_create: Whether what was refused was an object to be made, which a retry with the same words will hardly heal.
    """

    writes: int = 0
    stale: bool = False
    problem: str = ""
    wakes: tuple[Wake, ...] = ()
    refused_create: bool = False


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        writes=sum(outcome.writes for outcome in outcomes),
        stale=any(outcome.stale for outcome in outcomes),
        problem=next((outcome.problem for outcome in outcomes if outcome.problem), ""),
        wakes=tuple(wake for outcome in outcomes for wake in outcome.wakes),
        refused_create=any(outcome.refused_create for outcome in outcomes),
    )


class Result(Enum):
    """What became of one action."""

    DONE = "done"
    UNCHANGED = "unchanged"
    DEFERRED = "deferred"
    STALE = "stale"
    REFUSED = "refused"


@dataclass(slots=True)
class _Decision:
    """What the actions before this one did."""

    writes: int = 0
    attempts: int = 0
    problem: str = ""
    refused_create: bool = False
    wakes: list[Wake] = field(default_factory=list)
    # Answers to our own writes: the next action on the same object goes on from there, not from the version it overtook.
    answers: dict[tuple[Kind, Key], Any] = field(default_factory=dict)

    def newest(self, kind: Kind, seen: KubernetesObject) -> Any:
        return self.answers.get((kind, _key(seen)), seen)


class _NoLonger(Exception):
    """What a creation was provided on does not hold."""


class Executor:
    """One per process; shared by all controllers.

    Args:
        client: Of the operator's own identity; its user agent names the field manager of creates and patches.
        stores: Kind -> store that gets the answers of writes, so that the next decision sees them.
        component: Source of Events.
        metrics: Where actions and writes are counted.
        clock: Monotonic seconds, for rate limits and assumptions.
        wall_clock: Unix seconds, for the times in Events.
        writes_in_flight: At most; the API server's CPU is the scarce resource.
        kinds: All that a Create or Apply in JSON form may be of.
    """

    def __init__(
        self,
        client: Client,
        stores: Mapping[Kind, Store[Any]],
        *,
        component: str,
        metrics: Registry,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        writes_in_flight: int = 4,
        kinds: Iterable[Kind] = ALL_KINDS,
    ) -> None:
        self._client = client
        self._stores = stores
        self._writes_in_flight = writes_in_flight
        self._writer = Writer(stores, metrics, writes_in_flight)
        self._component = component
        self._clock = clock
        self._wall_clock = wall_clock
        self._kinds = {(kind.api_version, kind.name): kind for kind in kinds}
        self._event_limit = EventLimit(clock)
        self._rolled_up: dict[tuple[Kind, Key], float] = {}
        self._deleted: dict[str, float] = {}
        self._count = metrics.counter("actions_total", "Actions of deciders, by what became of them.", ("action", "result"))

    def now(self) -> float:
        """Unix seconds, by the clock that deciders are given: the API server's."""
        return self._wall_clock()

    async def execute(self, actions: Sequence[Action]) -> Outcome:
        """Carry out the actions of one decision in order; stop at the first that is stale or refused.

        Raises:
            ApiError: The server can not be reached or is overloaded, beyond the client's own retries. Decide again later.
        """
        decision = _Decision()
        for action in actions:
            if isinstance(action, Together):
                return _joined([Outcome(decision.writes, wakes=tuple(decision.wakes)), *await self._carry_out_together(action)])
            result = await self._carry_out(action, decision)
            self._count.add(type(action).__name__, result.value)
            decision.writes += result is Result.DONE and not isinstance(action, Wake | Emit)
            if result is Result.STALE or result is Result.REFUSED:
                is_stale = result is Result.STALE
                return Outcome(decision.writes, is_stale, decision.problem, tuple(decision.wakes), decision.refused_create)
        return Outcome(decision.writes, wakes=tuple(decision.wakes))

    async def _carry_out_together(self, action: Together) -> list[Outcome]:
        chains = iter(action.chains)  # shared: each worker takes the next one

        async def work() -> list[Outcome]:
            return [await self.execute(chain) for chain in chains]

        workers = min(self._writes_in_flight, len(action.chains))
        # A worker whose server can not be reached ends, the others find that out for themselves; what they have begun is not cut off.
        ended = await asyncio.gather(*(work() for _ in range(workers)), return_exceptions=True)
        for end in ended:
            if isinstance(end, BaseException):
                raise end
        return [outcome for outcomes in ended if not isinstance(outcomes, BaseException) for outcome in outcomes]

    async def _carry_out(self, action: Single, decision: _Decision) -> Result:
        if isinstance(action, Wake):
            decision.wakes.append(action)
            return Result.DONE
        if isinstance(action, Emit):
            return await self._emit(action, decision)
        decision.attempts += 1
        try:
            return await self._write(action, decision)
        except ApiError as error:
            if error.advice is Advice.WAIT:
                raise
            # A create that is not found lacks its namespace: no news will come of that, so it is told.
            if error.advice is Advice.LOOK_AGAIN and not (isinstance(error, NotFound) and isinstance(action, Create | Apply)):
                return Result.STALE
            decision.problem = str(error)
            decision.refused_create = isinstance(error, Forbidden | Invalid) and isinstance(action, Create)
            return Result.REFUSED

    async def _write(self, action: Create | Apply | Delete | SetStatus | Bind | PatchSpec, decision: _Decision) -> Result:
        match action:
            case Create():
                return await self._create(action, decision)
            case Apply():
                return await self._apply(action)
            case Delete():
                return await self._delete(action)
            case SetStatus():
                return await self._set_status(action, decision)
            case Bind():
                return await self._bind(action, decision)
            case PatchSpec():
                return await self._patch_spec(action, decision)

    async def _create(self, action: Create, decision: _Decision) -> Result:
        kind, body, key = self._parts_of(action.object)

        async def create() -> Any:
            # In the slot of the write: what is read is as fresh as can be, and where writes queue the reads let bindings pass as well.
            for condition in action.provided:
                if not await self._holds(condition):
                    raise _NoLonger
            return await self._client.create(kind, body)

        try:
            await self._writer.send(create, priority=Priority.CREATE, kind=kind, verb="create", key=key, reason=action.reason)
        except _NoLonger:
            return Result.STALE
        except AlreadyExists:
            return await self._judge_existing(kind, body, key, decision)
        return Result.DONE

    async def _holds(self, condition: Unchanged) -> bool:
        """Ask the server: our view may be old, after a stand-still of this process or beside another operator."""
        kind = kind_of(condition.object)
        try:
            present = await self._client.get(kind, *_key(condition.object))
        except NotFound:
            return False
        self._writer.learn(kind, present)
        is_same = present.metadata.uid == condition.object.metadata.uid
        return is_same and all(attrgetter(name)(present) == attrgetter(name)(condition.object) for name in condition.fields)

    async def _judge_existing(self, kind: Kind, body: Mapping[str, Any], key: Key, decision: _Decision) -> Result:
        """UNCHANGED if the object of that name is the one that was wanted, as after a crash between a write and its answer."""
        existing = await self._client.get(kind, *key)
        wanted, present = _controller_of(body), _controller_of(to_dict(existing))
        if wanted and wanted.get("uid") != present.get("uid"):
            owner = f"{present['kind']} {present['name']}" if present else "nobody"
            decision.problem = (
                f"{kind.name} {'/'.join(key)} already exists and belongs to {owner}, not to {wanted['kind']} {wanted['name']}; "
                "delete or rename it"
            )
            return Result.REFUSED
        if existing.metadata.deletionTimestamp and kind not in self._stores:
            return Result.STALE  # no feed will tell when the name is free
        self._writer.learn(kind, existing)
        return Result.UNCHANGED

    async def _apply(self, action: Apply) -> Result:
        kind, body, key = self._parts_of(action.object)
        if action.seen is not None and covers(to_dict(action.seen), body):
            return Result.UNCHANGED
        await self._writer.send(
            lambda: self._client.apply(kind, body, manager=action.manager, subresource=action.subresource),
            priority=Priority.STATUS if action.subresource else Priority.CREATE,
            kind=kind,
            verb=f"apply_{action.subresource}".rstrip("_"),
            key=key,
            reason=action.reason,
            version=action.seen.metadata.resourceVersion if action.seen is not None else "",
        )
        return Result.DONE

    async def _delete(self, action: Delete) -> Result:
        now = self._clock()
        self._deleted = {uid: until for uid, until in self._deleted.items() if until > now}
        if action.uid in self._deleted:
            return Result.UNCHANGED
        key = (action.namespace, action.name)
        try:
            await self._writer.send(
                lambda: self._client.delete(action.kind, *key, uid=action.uid, grace_seconds=action.grace_seconds),
                priority=Priority.STATUS,
                kind=action.kind,
                verb="delete",
                key=key,
                reason=action.reason,
            )
        except NotFound:
            self._writer.forget(action.kind, key, action.uid)
            return Result.UNCHANGED
        self._deleted[action.uid] = now + DELETE_AGAIN_SECONDS
        return Result.DONE

    async def _set_status(self, action: SetStatus, decision: _Decision) -> Result:
        kind = kind_of(action.object)
        seen = decision.newest(kind, action.object)
        if dataclasses.is_dataclass(action.status):
            patch = merge_patch_between(seen.status, action.status)
        else:
            patch = reduced(action.status, to_dict(seen.status))
        if not patch:
            return Result.UNCHANGED
        if action.roll_up:
            wait = self._wait_of_roll_up(kind, _key(seen), patch)
            if wait > 0:
                decision.wakes.append(Wake(wait, reason="the roll-up was put off"))
                return Result.DEFERRED
        # Counts can wait for what tells that something came to its end, also where that has to queue.
        priority = Priority.ROLL_UP if action.roll_up and "phase" not in patch else Priority.STATUS
        result = await self._patch_seen(
            kind, seen, {"status": patch}, decision, subresource="status", priority=priority, reason=action.reason
        )
        if action.roll_up and result is Result.DONE:
            self._rolled_up[kind, _key(seen)] = self._clock()
        return result

    def _wait_of_roll_up(self, kind: Kind, key: Key, patch: Mapping[str, Any]) -> float:
        now = self._clock()
        self._rolled_up = {which: at for which, at in self._rolled_up.items() if now - at < ROLL_UP_SECONDS}
        if "phase" in patch or (kind, key) not in self._rolled_up:
            return 0.0
        return self._rolled_up[kind, key] + ROLL_UP_SECONDS - now

    async def _patch_spec(self, action: PatchSpec, decision: _Decision) -> Result:
        kind = kind_of(action.object)
        seen = decision.newest(kind, action.object)
        wanted = {"metadata": {"annotations": action.annotations}, "spec": action.spec}
        patch = reduced(wanted, {"metadata": {"annotations": seen.metadata.annotations}, "spec": to_dict(seen.spec)})
        if not patch:
            return Result.UNCHANGED
        return await self._patch_seen(kind, seen, patch, decision, reason=action.reason)

    async def _bind(self, action: Bind, decision: _Decision) -> Result:
        kind = kind_of(action.object)
        seen = decision.newest(kind, action.object)
        if seen.spec.assignee:
            return Result.UNCHANGED if seen.spec.assignee == action.assignee else Result.STALE
        patch = {"spec": {"assignee": action.assignee}}
        # The version was seen with an empty assignee, so being conditional on it is being conditional on that.
        with self._assumed(kind, dataclasses.replace(seen, spec=dataclasses.replace(seen.spec, assignee=action.assignee))):
            return await self._patch_seen(kind, seen, patch, decision, priority=Priority.BINDING, reason=action.reason)

    async def _patch_seen(
        self,
        kind: Kind,
        seen: KubernetesObject,
        patch: Mapping[str, Any],
        decision: _Decision,
        *,
        reason: str,
        subresource: str = "",
        priority: Priority = Priority.STATUS,
    ) -> Result:
        if self._writer.is_overtaken(kind, seen):
            return Result.STALE
        key, version, is_binding = _key(seen), seen.metadata.resourceVersion, priority is Priority.BINDING
        body = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": version}}
        decision.answers[kind, key] = await self._writer.send(
            # A binding that was sent twice and answered "conflict" may be our own: then nobody would know for the length of a watch
            # latency that the agent is taken. Without an answer it stays assumed instead.
            lambda: self._client.merge_patch(kind, *key, body, subresource=subresource, repeatable=not is_binding),
            priority=priority,
            kind=kind,
            verb="bind" if is_binding else f"patch_{subresource}".rstrip("_"),
            key=key,
            reason=reason,
            version=version,
        )
        return Result.DONE

    @contextmanager
    def _assumed(self, kind: Kind, value: KubernetesObject) -> Iterator[None]:
        """Show the value in its store while the block writes it, and longer if the outcome stays unknown."""
        store = self._stores.get(kind)
        if store is None:
            yield
            return
        store.assume(value, until=self._clock() + ASSUME_SECONDS)
        is_known = False
        try:
            yield
            is_known = True
        except ApiError as error:
            is_known = not (isinstance(error, Unavailable) and error.may_have_happened)
            raise
        finally:
            if is_known:  # then the store holds the answer, or nothing happened
                store.retract(*_key(value))
            else:  # it may be written: the watch will tell, or time does
                asyncio.get_running_loop().call_later(ASSUME_SECONDS, lambda: store.expire(self._clock()))

    async def _emit(self, action: Emit, decision: _Decision) -> Result:
        if decision.attempts and not decision.writes:
            return Result.UNCHANGED
        if not self._event_limit.may_post(action.object.metadata.uid, action.reason, action.message):
            return Result.UNCHANGED
        body = event_body(action, self._component, self._wall_clock())
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        try:
            await self._writer.send(
                lambda: self._client.create(EVENT, body), priority=Priority.EVENT, kind=EVENT, verb="create", key=key, reason=action.reason
            )
        except ApiError as error:  # never worth a retry, and never a reason to stop the decision
            say(logger, logging.WARNING, "event_not_posted", namespace=key[0], name=key[1], reason=action.reason, error=error)
            return Result.UNCHANGED
        return Result.DONE

    def _parts_of(self, value: KubernetesObject | Mapping[str, Any]) -> tuple[Kind, dict[str, Any], Key]:
        body = dict(to_dict(value))
        kind = self._kinds.get((body.get("apiVersion", ""), body.get("kind", "")))
        if kind is None:
            raise ValueError(f"{body.get('apiVersion')} {body.get('kind')} is no kind this executor was given; add it to `kinds`")
        return kind, body, (body["metadata"].get("namespace", ""), body["metadata"]["name"])


def _key(value: KubernetesObject) -> Key:
    return (value.metadata.namespace, value.metadata.name)


def _controller_of(body: Mapping[str, Any]) -> dict[str, Any]:
    references = body.get("metadata", {}).get("ownerReferences") or []
    return next((dict(reference) for reference in references if reference.get("controller")), {})

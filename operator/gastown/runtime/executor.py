"""Carries out the actions of deciders; the only writer of the operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gastown.actions import Action, Wake
from gastown.api.kinds import Kind
from gastown.kube.aio import Client
from gastown.runtime.metrics import Registry
from gastown.runtime.store import Store


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the actions of one decision.

    Attributes:
        writes: How many requests changed something.
        stale: The world had moved on; look again, with a short back-off.
        problem: Why an action was refused (RBAC, validation, a foreign object of that name), with object and remedy; "" if none.
            Look again with the ordinary back-off.
        wakes: To be enqueued; roll-ups that were put off are among them.
    """

    writes: int
    stale: bool
    problem: str
    wakes: tuple[Wake, ...]


class Executor:
    """One per process; shared by all controllers.

    Args:
        client: Of the operator's own identity.
        stores: Kind -> store that gets the answers of writes, so that the next decision sees them.
        component: Source of Events, and field manager of creates and patches.
        metrics: Where writes are counted by kind, verb and result.
        writes_in_flight: At most; the API server's CPU is the scarce resource.
        clock: Monotonic seconds, for rate limits and assumptions.
        wall_clock: Unix seconds, for the times in Events.
    """

    def __init__(
        self,
        client: Client,
        stores: Mapping[Kind, Store[Any]],
        *,
        component: str,
        metrics: Registry,
        writes_in_flight: int = 4,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        raise NotImplementedError

    async def execute(self, actions: Sequence[Action]) -> Outcome:
        """Carry out the actions of one decision in order; stop at the first that is stale or refused.

        Raises:
            ApiError: The server can not be reached or is overloaded, beyond the client's own retries. Decide again later.
        """
        raise NotImplementedError

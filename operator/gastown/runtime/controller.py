"""Workers over a queue: key -> what is seen -> decision -> executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gastown.actions import Action, Key
from gastown.runtime.executor import Executor
from gastown.runtime.feed import Feed

S = TypeVar("S")


class Controller(Generic[S]):
    """One decider with its queue.

    Args:
        name: For logs and metrics.
        observe: Builds the decider's input for a key from the stores; None means there is nothing to decide (the object is gone).
        decide: Pure: what was seen and the Unix time -> the actions wanted.
        executor: Carries them out.
        needs: Feeds that must be synced before anything is decided.
        workers: Keys decided at the same time; one key never by two.
        clock: Unix seconds handed to `decide`.
        jitter: Random number in [0, 1), for back-off.
        deadline_seconds: Of one decision with its writes; a key that takes longer counts as failed and is retried.
    """

    def __init__(
        self,
        name: str,
        *,
        observe: Callable[[Key], S | None],
        decide: Callable[[S, float], Sequence[Action]],
        executor: Executor,
        needs: Sequence[Feed],
        workers: int = 2,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        deadline_seconds: float = 60.0,
    ) -> None:
        raise NotImplementedError

    def enqueue(self, *keys: Key) -> None:
        """Look at these keys soon; cheap, deduplicated, callable from store listeners at any time."""
        raise NotImplementedError

    def enqueue_after(self, key: Key, seconds: float) -> None:
        """Look at a key later; the earliest of several counts."""
        raise NotImplementedError

    async def run(self) -> None:
        """Decide until cancelled; starts when all `needs` are synced. On cancel the decisions under way end first (5 s)."""
        raise NotImplementedError

"""The whole control loop over an API server in memory, stepped by hand: real stores, wiring, deciders and executor; a clock that is told.

Nothing runs by itself. A test chooses what happens next: a watch delivers, the operator looks at a key, a pod starts, a session ends, the
refinery lands, the operator dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gastown.actions import Action, Key
from gastown.api import kinds, labels
from gastown.api.codec import to_dict
from gastown.api.kinds import Kind
from gastown.controllers.control_loop import Settings, make_controllers
from gastown.controllers.stores import Stores, make_stores
from gastown.decide.times import time_text
from gastown.runtime.executor import Executor
from gastown.runtime.metrics import Registry
from support.build import NOON
from support.memory_api import Killed, MemoryApi, MemoryClient
from support.players import GATES, Json, Players

SETTINGS = Settings(repository_url="http://repo.invalid", session_image="test")
# After a refused or overtaken decision the key comes back; the queue's back-off is longer and jittered.
AGAIN_SECONDS = 0.2


class SteppedController:
    """Stands for a controller: it keeps keys and decides one when told to."""

    def __init__(
        self, name: str, *, observe: Callable[[Key], Any], decide: Callable[[Any, float], Sequence[Action]], executor: Executor, **_: Any
    ) -> None:
        self.name = name
        self.observe = observe
        self.decide = decide
        self.executor = executor
        self.pending: dict[Key, None] = {}
        self.due: dict[Key, float] = {}
        self.now = 0.0

    def enqueue(self, *keys: Key) -> None:
        """Look at these keys soon."""
        self.pending.update(dict.fromkeys(keys))

    def enqueue_after(self, key: Key, seconds: float) -> None:
        """Look at a key later; the earliest of several counts."""
        self.due[key] = min(self.due.get(key, float("inf")), self.now + seconds)


class SimulatedTown:
    """One town, its operator and its players.

    Attributes:
        now: Unix seconds; moves only by `advance`. The operator's clock.
        machine_skew: By so much the clocks of the players' machines (kubelets, sessions, refinery) are ahead.
        server_skew: Likewise the API server's, whose times are on what is created and deleted.
        problems: Actions that were refused, as the log would tell them.
    """

    def __init__(self) -> None:
        self.now = NOON
        self.machine_skew = 0.0
        self.server_skew = 0.0
        self.problems: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.stores: Stores = make_stores()
        self.api = MemoryApi(self.stores.by_kind())
        self.api.now_text = time_text(self.now)
        self.players = Players(self.api, lambda: time_text(self.now + self.machine_skew))
        self.controllers: list[SteppedController] = []
        self.deaths = 0
        self.start_operator()

    def close(self) -> None:
        """Give the event loop back."""
        self.loop.close()

    # The operator

    def start_operator(self) -> None:
        """A new process: it knows nothing, lists everything, and looks at everything."""
        self.stores = make_stores()
        executor = Executor(
            MemoryClient(self.api),  # type: ignore[arg-type]
            self.stores.by_kind(),
            component="gastown-operator",
            metrics=Registry("test"),
            clock=lambda: self.now,
            wall_clock=lambda: self.now,
        )
        made = make_controllers(self.stores, SETTINGS, executor, (), Registry("test"), make=SteppedController, clock=lambda: self.now)  # type: ignore[arg-type]
        self.controllers = made  # type: ignore[assignment]
        for controller in self.controllers:
            controller.now = self.now
        self.api.relist(self.stores.by_kind())

    def pending(self) -> list[tuple[SteppedController, Key]]:
        """What the operator would look at next, in a fixed order."""
        return [(controller, key) for controller in self.controllers for key in controller.pending]

    def look(self, controller: SteppedController, key: Key) -> int:
        """One decision with its writes; returns how many changed something."""
        controller.pending.pop(key, None)
        seen = controller.observe(key)
        if seen is None:
            return 0
        try:
            outcome = self.loop.run_until_complete(controller.executor.execute(controller.decide(seen, self.now)))
        except Killed:
            self.deaths += 1
            self.start_operator()
            return 1
        for wake in outcome.wakes:
            controller.enqueue_after(wake.key or key, wake.after_seconds)
        if outcome.problem:
            self.problems.append(outcome.problem)
        if outcome.stale or outcome.problem:
            controller.enqueue_after(key, AGAIN_SECONDS)
        return outcome.writes

    def deliver(self) -> None:
        """Let every watch show everything."""
        for kind in list(self.api.undelivered):
            self.api.deliver(kind)

    def advance(self, seconds: float) -> None:
        """Time passes; deadlines that came are looked at."""
        self.now += seconds
        self.api.now_text = time_text(self.now + self.server_skew)
        for controller in self.controllers:
            controller.now = self.now
            for key in [key for key, due in controller.due.items() if due <= self.now]:
                del controller.due[key]
                controller.pending[key] = None

    def settle(self, limit: int = 2000) -> int:
        """Deliver and look until there is nothing to do now; returns the number of writes."""
        writes = 0
        for _ in range(limit):
            self.deliver()
            pending = self.pending()
            if not pending:
                return writes
            writes += self.look(*pending[0])
        raise AssertionError(f"no rest after {limit} looks; last pending: {[(c.name, key) for c, key in self.pending()][:5]}")

    def look_at_everything(self) -> list[str]:
        """Decide once more on every object, as after a restart; returns what was written."""
        told = len(self.api.log)
        for controller in self.controllers:
            controller.due.clear()
        for store in self.stores.by_kind().values():
            for value in store.all():
                key = (value.metadata.namespace, value.metadata.name)
                for controller in self.controllers:
                    controller.pending[key] = None
        self.settle()
        return self.api.log[told:]

    # The players

    def found(self, max_polecats: int = 2, **town: Any) -> None:
        """A town with one rig."""
        self.players.create(kinds.TOWN, "town", {"capacity": {"maxPolecats": 10}, **town})
        self.players.create(kinds.AGENT_PROFILE, "apprentice", {"adapter": "shell", "command": ["./work"]})
        spec = {"prefix": "gp", "profileName": "apprentice", "maxPolecats": max_polecats, "gates": to_dict(GATES)}
        self.players.create(kinds.RIG, "greeter", spec)
        self.api.apply_status(kinds.RIG, "greeter", {"conditions": [self.players.condition("RepositoryReady")]})

    def sessions(self) -> list[Json]:
        """The pods of sessions."""
        return [pod for pod in self.api.all(kinds.POD) if labels.SESSION in pod["metadata"].get("labels", {})]

    def play(self, pick: Callable[[Json], Json] | None = None) -> bool:
        """One round of everything that is due; False if nothing was.

        Args:
            pick: Termination message of a session, by its pod; default is to submit.
        """
        moved = False
        for pod in self.sessions():
            if pod["metadata"].get("deletionTimestamp"):
                self.api.remove((kinds.POD, "town", pod["metadata"]["name"]))
                moved = True
            elif self.players.start_pod(pod):
                moved = True
            elif self.players.is_let_in(pod):
                self.players.end_session(pod["metadata"]["name"], (pick or self.players.submit)(pod))
                moved = True
        for job in self.api.all(kinds.JOB):
            moved |= self.players.start_job(job) or self.players.end_job(job)
        for mr in self.api.all(kinds.MERGE_REQUEST):
            moved |= self.players.refine(mr)
        return moved

    def run_to_rest(self, pick: Callable[[Json], Json] | None = None, rounds: int = 60, stride_seconds: float = 5.0) -> None:
        """Play and settle until nothing moves any more, also not by the clock within two minutes."""
        quiet = 0
        for _ in range(rounds):
            self.settle()
            moved = self.play(pick)
            self.advance(stride_seconds)
            quiet = 0 if moved or self.pending() else quiet + 1
            if quiet * stride_seconds > 120:
                return
        raise AssertionError("the town does not come to rest")

    def status(self, kind: Kind, name: str) -> Json:
        """Of an object; {} if there is none yet."""
        status: Json = self.api.get(kind, name).get("status", {})
        return status

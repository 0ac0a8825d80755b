"""The life of a pod as a sequence of states, and whether it is the one that was expected (tests/data/pods/conformance.yaml)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gastown.api.kinds import POD
from gastown.kube.decoding import WatchEvent
from support.cluster import Cluster
from support.watching import watching

GONE = "gone"
_WORDS = frozenset({"phase", "reason", "ready", "may", "lasts"})


@dataclass(frozen=True)
class State:
    """What of a pod is compared.

    Attributes:
        containers: Name -> what it waits for, `running`, or exit code and reason; ` x2` behind it counts restarts.
        ready: The condition Ready; None says nothing.
    """

    phase: str
    reason: str = ""
    containers: Mapping[str, str] = field(default_factory=dict)
    ready: bool | None = None


@dataclass(frozen=True)
class Expected:
    """One step of a sequence.

    Attributes:
        may: A watcher may miss it.
        lasts: Nothing follows, if it is the last one.
    """

    state: State
    may: bool = False
    lasts: bool = True

    def fits(self, seen: State) -> bool:
        """Whether a state is this one."""
        wanted = self.state
        same = (wanted.phase, wanted.reason, dict(wanted.containers)) == (seen.phase, seen.reason, dict(seen.containers))
        return same and (wanted.ready is None or wanted.ready == seen.ready)


def expected_of(step: Mapping[str, Any] | str) -> Expected:
    """A step as the table writes it."""
    if isinstance(step, str):
        return Expected(State(step))
    containers = {name: str(value) for name, value in step.items() if name not in _WORDS}
    state = State(step["phase"], step.get("reason", ""), containers, step.get("ready"))
    return Expected(state, step.get("may", False), step.get("lasts", True))


def state_of(pod: Mapping[str, Any]) -> State:
    """The state of a pod as the API shows it; before its node has seen it, it has no containers."""
    status = pod.get("status", {})
    told = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    ready = next((each["status"] == "True" for each in status.get("conditions", []) if each["type"] == "Ready"), False)
    return State(status.get("phase", "Pending"), status.get("reason", ""), {each["name"]: _word(each) for each in told}, ready)


def _word(status: Mapping[str, Any]) -> str:
    state = status.get("state") or {"waiting": {}}
    if "running" in state:
        word = "running"
    elif "terminated" in state:
        word = f"{state['terminated']['exitCode']} {state['terminated'].get('reason', '')}"
    else:
        word = state["waiting"].get("reason", "waiting")
    restarts = status.get("restartCount", 0)
    return f"{word} x{restarts}" if restarts else word


def steps_reached(expected: Sequence[Expected], seen: Sequence[State]) -> set[int]:
    """Which steps the last state that was seen may be, if all before it went as expected; empty if something else was seen.

    A step that was seen twice in a row counts once.
    """
    reached = {-1}
    for state in seen:
        candidates = {index for at in reached for index in _next(expected, at)}
        reached = {index for index in candidates if expected[index].fits(state)}
    return reached


def _next(expected: Sequence[Expected], at: int) -> Iterator[int]:
    """The step itself, and those after it up to the first that can not be missed."""
    if at >= 0:
        yield at
    for index in range(at + 1, len(expected)):
        yield index
        if not expected[index].may:
            return


class PodRecorder:
    """Watches the pods of a namespace.

    Attributes:
        states: Pod name -> its states in their order, each once; GONE at the end of a pod that was deleted.
        last: Pod name -> its last version.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.states: dict[str, list[State]] = {}
        self.last: dict[str, dict[str, Any]] = {}
        self._cluster = cluster
        self._namespace = namespace

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Watch for the length of a block."""
        with watching(self._cluster, self._namespace, [(POD, self._hear)]):
            yield

    def _hear(self, event: WatchEvent) -> None:
        name = event.object["metadata"]["name"]
        states = self.states.setdefault(name, [])
        state = state_of(event.object)
        if event.type != "DELETED":
            self.last[name] = event.object
        # Until a node has seen it a pod has no containers to tell of.
        if states and not states[-1].containers:
            states.pop()
        if not states or states[-1] != state:
            states.append(state)
        if event.type == "DELETED":
            states.append(State(GONE))

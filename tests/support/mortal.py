"""Real processes for crash tests: they end themselves by SIGKILL right before or right after a chosen step of their work.

They are forked, within milliseconds, from a helper that has the product's modules loaded already: a crash matrix needs hundreds. A step is
whatever the process tells its `Fate`: a write to the API server, an object or a ref in git, a child process. Nothing of a process can
outlive the test: it is killed with its parent.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from gastown.api.kinds import Kind
from gastown.kube.aio import Client
from gastown.local.node.system_calls import die_with_parent

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "gastown.processes.operator",
        "gastown.processes.refinery.main",
        "gastown.processes.repo_server.main",
        "gastown.local.node.system_calls",
    ]
)
DIARY, DEATHS, LOG = "diary", "deaths", "log"
STOP_SECONDS = 60.0
LOG_TAIL = 4000


BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Moment:
    """Where a process is in its life.

    Attributes:
        number: Of the step, from 1.
        what: The step.
        side: BEFORE it is done, or AFTER, when nobody has seen its result yet.
        deaths: Of earlier lives in the same folder at the same side of the same step.
    """

    number: int
    what: str
    side: str
    deaths: int


class Doom(Protocol):
    """When a process kills itself."""

    def strikes(self, moment: Moment) -> bool:
        """Whether now."""


@dataclass(frozen=True)
class Never:
    """It lives until it is told to stop."""

    def strikes(self, moment: Moment) -> bool:
        """No."""
        del moment
        return False


@dataclass(frozen=True)
class AtStep:
    """It dies at its n-th step.

    Attributes:
        number: From 1.
        side: BEFORE or AFTER.
    """

    number: int
    side: str

    def strikes(self, moment: Moment) -> bool:
        """At that one."""
        return (moment.number, moment.side) == (self.number, self.side)


@dataclass(frozen=True)
class AtEachStep:
    """It dies at each step that differs from all before, and the next life again: a story told under such lives is interrupted
    everywhere, before and after each step, as often in a row as is wanted.
    """

    times: int = 2

    def strikes(self, moment: Moment) -> bool:
        """While that step has not killed often enough."""
        return moment.deaths < self.times


@dataclass(frozen=True)
class AtRandom:
    """It dies at each step with the same odds.

    Attributes:
        seed: Of the dice.
        odds: From 0 to 1.
    """

    seed: int
    odds: float

    def strikes(self, moment: Moment) -> bool:
        """As the dice fall."""
        return random.Random(f"{self.seed} {moment.number} {moment.side}").random() < self.odds


NEVER = Never()


class Fate:
    """Tells the steps of this process to its doom, and ends it when the time has come.

    Args:
        folder: Of this life and those before it; its diary gets a line per step, before it is done.
    """

    def __init__(self, doom: Doom, folder: Path) -> None:
        self._doom = doom
        self._diary = (folder / DIARY).open("a", buffering=1)
        self._deaths = folder / DEATHS
        self._known = _deaths_in(self._deaths)
        self._steps = 0
        self._lock = threading.Lock()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Around each step; steps may overlap."""
        with self._lock:
            self._steps += 1
            number = self._steps
            self._diary.write(f"{what}\n")
            self._meet(number, what, BEFORE)
        try:
            yield
        finally:
            with self._lock:
                self._meet(number, what, AFTER)

    def _meet(self, number: int, what: str, side: str) -> None:
        """Perhaps die as the kernel's out-of-memory killer does it: nothing is finished and nobody is told."""
        if not self._doom.strikes(Moment(number, what, side, self._known[what, side])):
            return
        with self._deaths.open("a") as file:
            file.write(f"{side} {what}\n")
        os.kill(os.getpid(), signal.SIGKILL)


class MortalClient(Client):
    """Each write is a step; give its class a `fate` in the process that uses it. Events are none: nothing follows from them."""

    fate: ClassVar[Fate]

    async def _call(self, verb: str, kind: Kind, method: str, path: str, body: Any = None, *rest: Any, **more: Any) -> bytes:
        if method == "GET" or kind.name == "Event":
            return await super()._call(verb, kind, method, path, body, *rest, **more)
        with self.fate.step(_told(method, kind, path, body)):
            return await super()._call(verb, kind, method, path, body, *rest, **more)


def _told(method: str, kind: Kind, path: str, body: Any) -> str:
    """Words that tell one write of a story from the others, and are the same when it is done again."""
    words = path.partition("?")[0].partition(f"/{kind.plural}")[2].split("/")[1:]
    told = body if isinstance(body, dict) else {}
    name = words[0] if words else told.get("metadata", {}).get("name", "")
    subresource = f"/{words[1]}" if len(words) > 1 else ""
    status = told.get("status") or {}
    said = [f"{condition['type']}={condition['status']}" for condition in status.get("conditions") or []]
    what = [status.get("phase") or "", *said, *sorted(told.get("spec") or {} if method == "PATCH" else ())]
    return " ".join(word for word in (method, f"{kind.plural}{subresource}", name, *what) if word)


class Life:
    """One life of a process.

    Args:
        folder: Gets its diary and its log; they go on with the next life in the same folder.
        target: Importable by name; called in the child with its Fate and these arguments.
    """

    def __init__(self, folder: Path, doom: Doom, target: Callable[..., None], *arguments: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.doom = doom
        self._folder = folder
        self._lines_before = len(_lines(folder / DIARY))
        self._process = _CONTEXT.Process(target=_live, args=(folder, doom, target, arguments), daemon=True)

    def start(self) -> Life:
        """Begin."""
        self._process.start()
        return self

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.exitcode is not None

    def was_killed(self) -> bool:
        """Whether it ended by SIGKILL."""
        return self._process.exitcode == -signal.SIGKILL

    def steps(self) -> list[str]:
        """What it began, in order."""
        return _lines(self._folder / DIARY)[self._lines_before :]

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self._process.join(STOP_SECONDS)

    def stop(self) -> None:
        """SIGTERM, and wait; what does not go then is killed, and told."""
        self._process.terminate()
        self._process.join(STOP_SECONDS)
        if not self.is_over():
            self.kill()
            raise AssertionError(f"no end {STOP_SECONDS:g} s after SIGTERM\n{self.told()}")

    def told(self) -> str:
        """Its last steps and log lines, for the message of a failing test."""
        log = self._folder / LOG
        tail = log.read_text(errors="replace")[-LOG_TAIL:] if log.exists() else ""
        return f"exit code {self._process.exitcode}, to die {self.doom}; last steps: {self.steps()[-8:]}\n{tail}"


def replace(owner: Any, name: str, value: Any) -> None:
    """Replace what a module or a class holds, in a child, which is the test's own process."""
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, value)


def deaths_in(folder: Path) -> Counter[tuple[str, str]]:
    """How often the lives in a folder died, by step and side."""
    return _deaths_in(folder / DEATHS)


def _deaths_in(file: Path) -> Counter[tuple[str, str]]:
    told = (line.partition(" ") for line in _lines(file))
    return Counter((what, side) for side, _, what in told)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _live(folder: Path, doom: Doom, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    die_with_parent()
    output = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(output, number)
    target(Fate(doom, folder), *arguments)

"""What the agent knows about the containers of a pod. Plain data: `lifecycle.py` decides on it, `status.py` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gastown.local.node.run_files import RunExit, RunState


class Role(Enum):
    """Why a container is in the pod; a sidecar is an init container with restartPolicy Always."""

    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"


@dataclass(slots=True)
class Run:
    """One start of a container.

    Attributes:
        number: 0 for the first; the API's restartCount.
        streak: Restarts in a row without a long healthy run; the back-off follows from it.
        started: Seconds since the epoch.
        exit: None while it runs.
        message: Termination message, once it ended.
    """

    number: int
    streak: int
    directory: Path
    started: float
    state: RunState | None = None
    exit: RunExit | None = None
    message: str = ""


@dataclass(slots=True)
class Container:
    """One container of a pod and its last two runs.

    Attributes:
        waiting_reason, waiting_message: Why it could not be started just now, or "".
        retry_time: Not to be tried before, seconds since the epoch.
        is_started: The startup probe succeeded, or there is none.
        is_ready: The readiness probe's last word, True without one.
        is_stopping: It has been told to end.
    """

    name: str
    role: Role
    spec: Mapping[str, Any]
    current: Run | None = None
    previous: Run | None = None
    waiting_reason: str = ""
    waiting_message: str = ""
    retry_time: float = 0.0
    is_started: bool = False
    is_ready: bool = False
    is_stopping: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it has a live process."""
        return self.current is not None and self.current.exit is None

    @property
    def latest(self) -> Run | None:
        """The newest run there was. After a reboot there may be one although none is current."""
        return self.current or self.previous

    @property
    def last_exit(self) -> RunExit | None:
        """End of the newest run, None if there is none or it still runs."""
        return self.current.exit if self.current is not None else None


def containers_of(pod: Mapping[str, Any]) -> list[Container]:
    """Fresh records for all containers of a pod, init containers first, in their order."""
    spec = pod["spec"]
    before = [
        Container(each["name"], Role.SIDECAR if each.get("restartPolicy") == "Always" else Role.INIT, each)
        for each in spec.get("initContainers") or []
    ]
    return before + [Container(each["name"], Role.MAIN, each) for each in spec["containers"]]

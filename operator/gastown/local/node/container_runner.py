"""Starts, follows and stops the containers of one pod."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from gastown.local.node import environment
from gastown.local.node.container_spec import ContainerProblem, build_specification
from gastown.local.node.context import NodeContext
from gastown.local.node.downward import UnknownField
from gastown.local.node.health import Health
from gastown.local.node.hooks import run_hook
from gastown.local.node.launcher import RunningContainer, start_shim
from gastown.local.node.lifecycle import next_streak
from gastown.local.node.records import Container, Run
from gastown.local.node.references import MissingReference
from gastown.local.node.run_files import UNKNOWN_EXIT_CODE, RunExit, current_boot_id, read_exit, read_state, write_exit
from gastown.local.node.state_directory import RUN_MARKER, PodFiles, sweep_marked
from gastown.local.node.termination import termination_message
from gastown.local.node.volumes import PodVolumes, VolumeProblem

# The least a program gets after SIGTERM, even when it is deleted by force.
MINIMUM_GRACE_SECONDS = 2.0
_KILL_SECONDS = 5.0
_POST_START_SECONDS = 60.0
_CONFIG_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_DEADLINE_LOOK_SECONDS = 0.5

_log = logging.getLogger(__name__)

Deadline = Callable[[], float]


class ContainerRunner:
    """All processes of one pod.

    Args:
        wake: Called when a container ended or changed its readiness.
    """

    def __init__(self, context: NodeContext, files: PodFiles, volumes: PodVolumes, wake: Callable[[], None]) -> None:
        self._context = context
        self._files = files
        self._volumes = volumes
        self._wake = wake
        self._shims: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._inside: dict[str, RunningContainer] = {}
        self._health = Health(wake, self._restart)
        self._config_failures: dict[str, int] = {}
        self._descriptors: set[int] = set()
        self._background: set[asyncio.Task[None]] = set()

    async def adopt(self, pod: Mapping[str, Any], container: Container) -> None:
        """Find the runs an earlier agent left, and follow the newest if it still lives."""
        runs = []
        for path in self._files.runs(container.name)[-2:]:
            state, ended = read_state(path), read_exit(path)
            if state is None and ended is None:
                self._files.discard(path)  # the agent died before the shim had made a process
                continue
            started = state.started if state is not None else ended.started if ended is not None else 0.0
            run = Run(int(path.name), _read_streak(path), path, started, state, ended)
            if ended is not None:
                run.message = termination_message(container.spec, path, ended)
            runs.append(run)
        if not runs:
            return
        container.current = runs[-1]
        container.previous = runs[-2] if len(runs) > 1 else None
        if container.current.exit is None:
            self._follow(pod, container, container.current, _told(pod, container))

    async def start(self, pod: Mapping[str, Any], container: Container) -> None:
        """Start a container. What goes wrong is noted in its record: a waiting reason, or a run that ended with StartError."""
        number = container.latest.number + 1 if container.latest is not None else 0
        try:
            variables = await self._environment(pod, container)
            binds = self._volumes.binds(container.spec, variables)
            directory = self._files.new_run(container.name, number)
            specification = build_specification(pod, container.spec, variables, binds, self._context.view, directory, self._files.hosts)
        except (MissingReference, UnknownField, VolumeProblem, ContainerProblem, OSError) as error:
            self._note_config_problem(pod, container, str(error))
            return
        container.waiting_reason = container.waiting_message = ""
        container.is_stopping = False
        self._config_failures.pop(container.name, None)
        run = Run(number, next_streak(container.current), directory, time.time())
        (directory / "streak").write_text(str(run.streak), encoding="ascii")
        if not self._context.view.confined:
            specification["environment"][RUN_MARKER] = str(directory)
        container.previous, container.current = container.latest, run
        try:
            self._shims[container.name] = await start_shim(specification)
        except OSError as error:
            run.exit = RunExit(128, run.started, time.time(), "StartError", f"no process could be started: {error}")
        else:
            run.state, run.exit = read_state(directory), read_exit(directory)
            if run.state is not None:
                run.started = run.state.started
        if run.exit is not None:
            await self._note_end_of_shim(container)
            self._finish(pod, container, run)
            if run.exit.reason == "StartError":
                self._context.events.warn(pod, "Failed", f"container {container.name}: {run.exit.message}")
            return
        self._follow(pod, container, run)
        _log.info("container.started pod=%s/%s container=%s restarts=%d", *_names(pod), container.name, number)
        self._run_aside(self._after_start(pod, container))

    async def stop(self, pod: Mapping[str, Any], container: Container, deadline: Deadline) -> None:
        """preStop, SIGTERM to PID 1, and at the deadline SIGKILL to all of it; returns when nothing of it is left.

        Args:
            deadline: In time of the event loop; asked again and again, since a second deletion may shorten it.
        """
        run = container.current
        if run is None or run.exit is not None:
            return
        ended = self._ended[container.name]
        if container.is_stopping:
            await ended.wait()
            return
        container.is_stopping = True  # and ready until it has ended, as far as its probe said so: what drains it goes by the deletion
        self._health.forget(container.name)
        self._wake()
        loop = asyncio.get_running_loop()
        await self._pre_stop(pod, container, deadline)
        if run.state is not None:
            run.state.init.send_signal(signal.SIGTERM)
        least = loop.time() + MINIMUM_GRACE_SECONDS
        while not ended.is_set() and (left := max(least, deadline()) - loop.time()) > 0:
            await _wait(ended, min(left, _DEADLINE_LOOK_SECONDS))
        if not ended.is_set():
            await self._kill(run, ended)

    def close(self) -> None:
        """Let go of everything without touching any container: the next agent adopts them."""
        self._health.close()
        for task in self._background:
            task.cancel()
        loop = asyncio.get_running_loop()
        for descriptor in self._descriptors:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._descriptors.clear()

    def inside(self, container_name: str) -> RunningContainer | None:
        """The way into a running container, None if it does not run."""
        return self._inside.get(container_name)

    async def _environment(self, pod: Mapping[str, Any], container: Container) -> dict[str, str]:
        context = self._context
        namespace = pod["metadata"]["namespace"]
        hostname = pod["spec"].get("hostname") or pod["metadata"]["name"]
        inherited = environment.base_variables(context.config.path_entries, context.view.home, hostname)
        if pod["spec"].get("enableServiceLinks", True):
            inherited |= context.services.variables(namespace)
        inherited |= environment.api_server_variables(context.api_host, context.api_port)
        return await environment.resolve_environment(pod, container.spec, inherited, context.references, context.allocatable)

    def _note_config_problem(self, pod: Mapping[str, Any], container: Container, message: str) -> None:
        failures = self._config_failures.get(container.name, 0)
        self._config_failures[container.name] = failures + 1
        container.waiting_reason, container.waiting_message = "CreateContainerConfigError", message
        container.retry_time = time.time() + _CONFIG_RETRY_SECONDS[min(failures, len(_CONFIG_RETRY_SECONDS) - 1)]
        self._context.events.warn(pod, "Failed", f"container {container.name}: {message}")

    def _follow(self, pod: Mapping[str, Any], container: Container, run: Run, told: Mapping[str, Any] | None = None) -> None:
        self._ended[container.name] = asyncio.Event()
        alive = run.state is not None and run.state.boot_id == current_boot_id()
        descriptor = run.state.shim.open() if run.state is not None and alive else None
        if descriptor is None or run.state is None:
            self._on_end(pod, container, run)
            return
        directory = container.spec.get("workingDir") or "/"
        inside = RunningContainer(run.state.init, run.state.is_confined, _initial_environment(run), directory)
        self._inside[container.name] = inside
        self._descriptors.add(descriptor)

        def _ready() -> None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            self._descriptors.discard(descriptor)
            self._on_end(pod, container, run)

        asyncio.get_running_loop().add_reader(descriptor, _ready)
        self._health.watch(pod, container, inside, told)

    def _on_end(self, pod: Mapping[str, Any], container: Container, run: Run) -> None:
        shim = self._shims.pop(container.name, None)
        if shim is not None:
            shim.poll()
        run.exit = read_exit(run.directory)
        if run.exit is None:
            # Its supervisor was killed or the machine went down: what the program's own end was, nobody knows.
            if run.state is not None and run.state.boot_id == current_boot_id():
                run.state.init.send_signal(signal.SIGKILL)
            if run.state is not None and not run.state.is_confined:
                sweep_marked(run.directory)
            message = "the container could not be found when its state was looked up"
            run.exit = RunExit(UNKNOWN_EXIT_CODE, run.started, time.time(), "ContainerStatusUnknown", message)
            write_exit(run.directory, run.exit)  # the next agent must tell the same time of death
        self._finish(pod, container, run)

    def _finish(self, pod: Mapping[str, Any], container: Container, run: Run) -> None:
        assert run.exit is not None
        run.message = termination_message(container.spec, run.directory, run.exit)
        container.is_ready = container.is_started = container.is_stopping = False
        self._inside.pop(container.name, None)
        self._health.forget(container.name)
        self._ended.setdefault(container.name, asyncio.Event()).set()
        _log.info("container.ended pod=%s/%s container=%s code=%d", *_names(pod), container.name, run.exit.code)
        self._wake()

    async def _note_end_of_shim(self, container: Container) -> None:
        shim = self._shims.pop(container.name, None)
        if shim is not None:
            await asyncio.to_thread(shim.wait)  # it has told its failure and is on its last line

    async def _after_start(self, pod: Mapping[str, Any], container: Container) -> None:
        inside = self._inside.get(container.name)
        if inside is None or await run_hook(pod, container.spec, inside, "postStart", timeout_seconds=_POST_START_SECONDS):
            return
        self._restart(pod, container, float(pod["spec"].get("terminationGracePeriodSeconds") or 0), "postStart hook failed")

    async def _pre_stop(self, pod: Mapping[str, Any], container: Container, deadline: Deadline) -> None:
        inside = self._inside.get(container.name)
        if inside is not None:
            left = deadline() - asyncio.get_running_loop().time()
            await run_hook(pod, container.spec, inside, "preStop", timeout_seconds=left)

    def _restart(self, pod: Mapping[str, Any], container: Container, grace_seconds: float, reason: str) -> None:
        self._context.events.warn(pod, "Unhealthy", f"container {container.name}: {reason}; it is stopped")
        limit = asyncio.get_running_loop().time() + grace_seconds
        self._run_aside(self.stop(pod, container, lambda: limit))

    def _run_aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._background.discard)

    async def _kill(self, run: Run, ended: asyncio.Event) -> None:
        if run.state is None:
            return
        run.state.init.send_signal(signal.SIGKILL)
        await _wait(ended, _KILL_SECONDS)
        if not ended.is_set():
            run.state.shim.send_signal(signal.SIGKILL)
            await _wait(ended, _KILL_SECONDS)
        if not ended.is_set():
            _log.error("container.unkillable process=%d directory=%s", run.state.init.process_id, run.directory)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _names(pod: Mapping[str, Any]) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _told(pod: Mapping[str, Any], container: Container) -> Mapping[str, Any] | None:
    """What the API says of the current run of a container, None if it speaks of another run."""
    status = pod.get("status", {})
    every = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    found = next((each for each in every if each["name"] == container.name), None)
    if found is None or container.current is None or found.get("restartCount") != container.current.number:
        return None
    return dict(found)


def _read_streak(directory: Path) -> int:
    try:
        return int((directory / "streak").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _initial_environment(run: Run) -> dict[str, str]:
    """As the container's own command got it; for what is run inside later."""
    if run.state is None:
        return {}
    try:
        pairs = Path(f"/proc/{run.state.init.process_id}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(os.fsdecode(pair).split("=", 1) for pair in pairs if b"=" in pair)

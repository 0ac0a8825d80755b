"""Follows the probes of a pod's containers: who is started, who is ready, and who must be restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gastown.local.node.addresses import address_of
from gastown.local.node.launcher import RunningContainer
from gastown.local.node.probes import Prober, ports_of
from gastown.local.node.records import Container, Role

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

Restart = Callable[[Mapping[str, Any], Container, float, str], None]


class Health:
    """The probes of one pod.

    Args:
        wake: Called when readiness changed.
        restart: Called with pod, container, grace in seconds and the reason when a probe has failed for good.
    """

    def __init__(self, wake: Callable[[], None], restart: Restart) -> None:
        self._wake = wake
        self._restart = restart
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def watch(self, pod: Mapping[str, Any], container: Container, inside: RunningContainer, told: Mapping[str, Any] | None = None) -> None:
        """Begin with a run of a container.

        Args:
            told: Its status in the API if this run was adopted. Its readiness stands until a probe says otherwise: a restart of the
                agent must not look like an outage.
        """
        has = {name for name in _PROBES if name in container.spec and container.role is not Role.INIT}
        container.is_started = "startupProbe" not in has or bool(told and told.get("started"))
        container.is_ready = "readinessProbe" not in has or bool(told and told.get("ready"))
        if has:
            probers = {name: Prober(container.spec[name], address_of(pod), ports_of(container.spec), inside) for name in has}
            self._tasks[container.name] = asyncio.create_task(self._follow(pod, container, probers))

    def forget(self, container_name: str) -> None:
        """The container ends or has ended: no probe may speak of it any more."""
        task = self._tasks.pop(container_name, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """End all probes."""
        for name in list(self._tasks):
            self.forget(name)

    async def _follow(self, pod: Mapping[str, Any], container: Container, probers: Mapping[str, Prober]) -> None:
        def _failed(name: str) -> None:
            grace = container.spec[name].get("terminationGracePeriodSeconds") or pod["spec"].get("terminationGracePeriodSeconds") or 0
            self._restart(pod, container, float(grace), f"{name} failed: {probers[name].failure}")

        if (startup := probers.get("startupProbe")) and not container.is_started:
            await startup.run(lambda: None, lambda: _failed("startupProbe"), eager=True, until_success=True)
            container.is_started = True
            self._wake()
        async with asyncio.TaskGroup() as group:
            if readiness := probers.get("readinessProbe"):
                set_ready = partial(self._set_ready, container)
                group.create_task(readiness.run(partial(set_ready, value=True), partial(set_ready, value=False), eager=True))
            if liveness := probers.get("livenessProbe"):
                group.create_task(liveness.run(lambda: None, lambda: _failed("livenessProbe"), eager=False))

    def _set_ready(self, container: Container, *, value: bool) -> None:
        if container.is_ready != value and not container.is_stopping:
            container.is_ready = value
            self._wake()

"""The life of one pod on this node, from binding to deletion: one task that looks at everything again whenever anything changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from gastown.kube.errors import ApiError, Conflict, NotFound
from gastown.local.node import lifecycle
from gastown.local.node.container_runner import MINIMUM_GRACE_SECONDS, ContainerRunner
from gastown.local.node.context import NodeContext
from gastown.local.node.launcher import RunningContainer
from gastown.local.node.records import Container, Role, containers_of
from gastown.local.node.references import MissingReference
from gastown.local.node.run_files import current_boot_id
from gastown.local.node.status import PodFacts, pod_status
from gastown.local.node.status_writer import StatusWriter
from gastown.local.node.volumes import PodVolumes, VolumeProblem

_VOLUME_RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_REFRESH_SECONDS = 60.0
_TROUBLE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class PodWorker:
    """Runs one pod; `run` returns when nothing of it is left on the node.

    Args:
        pod: As first seen, bound to this node.
        predecessor: Worker of an earlier pod of the same name. It must be gone first: both listen on the same address.
    """

    def __init__(self, context: NodeContext, pod: Mapping[str, Any], predecessor: asyncio.Task[None] | None = None) -> None:
        self.pod = pod
        metadata = pod["metadata"]
        self.uid: str = metadata["uid"]
        self._context = context
        self._predecessor = predecessor
        self._files = context.files(self.uid)
        self._containers = containers_of(pod)
        self._volumes = PodVolumes(pod, self._files.volumes, self._files.memory, context.references, context.allocatable)
        self._wake = asyncio.Event()
        self._runner = ContainerRunner(context, self._files, self._volumes, self._wake.set)
        self._writer = StatusWriter(context.client, metadata["namespace"], metadata["name"], self.uid)
        self._conditions: list[dict[str, Any]] = []
        self._started = time.time()
        self._has_volumes = False
        self._volume_failures = 0
        self._failure = ("", "")
        self._is_removed = False
        self._is_over = False
        self._next_refresh = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.pod["metadata"]["namespace"], self.pod["metadata"]["name"]

    def update(self, pod: Mapping[str, Any]) -> None:
        """The API shows a newer version of the pod."""
        self.pod = self._volumes.pod = pod
        self._writer.observe(pod)
        self._wake.set()

    def remove(self) -> None:
        """The pod is gone from the API: end it here, too."""
        self._is_removed = True
        self._wake.set()

    def refresh_hosts(self) -> None:
        """Services or other pods changed. The file is written in place: containers hold it by a bind mount, not by name."""
        if self._files.root.is_dir():
            text = self._context.services.hosts_file(self.pod)
            if not self._files.hosts.exists() or self._files.hosts.read_text(encoding="utf-8") != text:
                self._files.hosts.write_text(text, encoding="utf-8")

    def inside(self, container_name: str) -> RunningContainer | None:
        """The way into a running container, None if it does not run."""
        return self._runner.inside(container_name)

    def container(self, name: str) -> Container | None:
        """Record of a container, None if the pod has none of that name."""
        return next((each for each in self._containers if each.name == name), None)

    async def run(self) -> None:
        """Until the pod is deleted. Cancelling leaves its containers alone, for the next agent."""
        try:
            if self._predecessor is not None:
                await asyncio.wait([self._predecessor])
            await self._take_on()
            while True:
                self._wake.clear()
                try:
                    timeout = await self._look()
                except (ApiError, OSError) as error:
                    _log.warning("pod.trouble pod=%s error=%s", self._name(), error)
                    timeout = _TROUBLE_SECONDS
                if timeout is not None and timeout < 0:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._wake.wait()
        finally:
            self._writer.close()
            self._runner.close()

    async def _take_on(self) -> None:
        record = self._files.read_record()
        told = self.pod.get("status", {}).get("startTime")
        if record is None:
            if told:
                self._started = datetime.fromisoformat(told).timestamp()
            if not self._is_terminal():
                self._files.write_record(self.pod, self._started)
            return
        self._started = record.started
        has_memory = self._files.memory.is_dir()
        for container in self._containers:
            await self._runner.adopt(self.pod, container)
        if record.boot_id != current_boot_id() or not has_memory:
            self._begin_again()

    def _begin_again(self) -> None:
        """After a reboot, or when the town was down, memory volumes are empty: init containers prepare them again."""
        self._files.write_record(self.pod, self._started)
        if self.pod["spec"]["restartPolicy"] == "Never":
            return
        for container in self._containers:
            is_before = container.role is not Role.MAIN
            if container.current is not None and (is_before or lifecycle.may_restart(container, self.pod["spec"]["restartPolicy"])):
                container.previous, container.current = container.current, None

    async def _look(self) -> float | None:
        """Do what is due. Returns seconds to the next look, None to wait for an event, negative when the pod is gone."""
        now = time.time()
        if self._is_removed or "deletionTimestamp" in self.pod["metadata"]:
            await self._leave()
            return -1.0
        is_running = any(each.is_running for each in self._containers)
        if self._is_terminal():
            await self._end_containers()  # told so by somebody else: a pod that is over runs nothing
            return 0.0 if is_running else None
        if not self._failure[0] and (deadline := self._active_deadline()) is not None and now >= deadline:
            self._failure = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
        if self._failure[0] or self._is_over:
            await self._end_containers()
            self._publish()
            return 0.0 if is_running else None  # what came in while they ended is looked at once more
        if not self._has_volumes and not await self._make_volumes():
            self._publish()
            return _VOLUME_RETRY_SECONDS[min(self._volume_failures, len(_VOLUME_RETRY_SECONDS)) - 1]
        return await self._advance()

    async def _advance(self) -> float | None:
        plan = lifecycle.plan(self._containers, self.pod["spec"].get("restartPolicy", "Always"), time.time())
        if plan.start:
            await asyncio.gather(*(self._runner.start(self.pod, each) for each in plan.start))
            self._publish()
            return 0.0
        for container in plan.stop:
            limit = asyncio.get_running_loop().time() + self._grace_seconds()
            await self._runner.stop(self.pod, container, lambda limit=limit: limit)  # type: ignore[misc]
        if plan.stop:
            return 0.0
        self._is_over = plan.is_finished
        self._publish()
        if plan.is_finished:
            return None
        times = [each for each in (plan.wake_time, self._active_deadline(), await self._refresh_volumes()) if each is not None]
        return max(0.0, min(times) - time.time()) if times else None

    async def _make_volumes(self) -> bool:
        self.refresh_hosts()
        try:
            await self._volumes.prepare()
        except (MissingReference, VolumeProblem) as error:
            self._volume_failures += 1
            for container in self._containers:
                if container.current is None:
                    container.waiting_reason, container.waiting_message = "ContainerCreating", str(error)
            if self._volume_failures > 3:
                self._context.events.warn(self.pod, "FailedMount", str(error))
            return False
        for container in self._containers:
            container.waiting_reason = container.waiting_message = ""
        self._has_volumes = True
        return True

    async def _refresh_volumes(self) -> float | None:
        """Renew tokens that are due, look at ConfigMaps and Secrets once a minute. Returns when to come again."""
        now = time.time()
        renewal = self._volumes.next_renewal()
        polls = self._volumes.needs_polling()
        if self._next_refresh == 0.0:
            # Spread: pods that started together must not poll together for ever.
            self._next_refresh = now + _REFRESH_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311
        if (renewal is not None and now >= renewal) or (polls and now >= self._next_refresh):
            self._next_refresh = now + _REFRESH_SECONDS
            try:
                await self._volumes.refresh()
            except (MissingReference, VolumeProblem) as error:
                self._context.events.warn(self.pod, "FailedMount", str(error))
                return now + _TROUBLE_SECONDS
            renewal = self._volumes.next_renewal()
        times = [each for each in (renewal, self._next_refresh if polls else None) if each is not None]
        return min(times) if times else None

    async def _end_containers(self) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() + self._grace_seconds()
        await self._stop_all(lambda: limit)

    async def _stop_all(self, deadline: Any) -> None:
        running = [each for each in self._containers if each.is_running]
        sidecars = [each for each in reversed(running) if each.role is Role.SIDECAR]
        others = [each for each in running if each.role is not Role.SIDECAR]
        await self._stop_together(others, deadline)
        for sidecar in sidecars:
            await self._stop_together([sidecar], deadline)

    async def _stop_together(self, containers: Iterable[Container], deadline: Any) -> None:
        stops: list[asyncio.Task[Any]] = [asyncio.create_task(self._runner.stop(self.pod, each, deadline)) for each in containers]
        while stops:
            # Meanwhile readiness must be seen to go, and the pod may change.
            self._wake.clear()
            self._publish()
            wake = asyncio.create_task(self._wake.wait())
            done, _ = await asyncio.wait([wake, *stops], return_when=asyncio.FIRST_COMPLETED)
            wake.cancel()
            for task in done & set(stops):
                task.result()
                stops.remove(task)

    async def _leave(self) -> None:
        """The pod is being deleted: stop it within its grace, tell how it ended, let the API server forget it, clean up."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await self._stop_all(lambda: begin + self._deletion_grace_seconds())
        self._is_over = True
        if not self._is_removed:
            # Before the deletion: Job and Deployment controllers count how a pod ended by its last status.
            self._publish()
            await self._writer.flush()
            await self._delete()
        self._writer.close()
        await asyncio.to_thread(self._files.remove)
        _log.info("pod.removed pod=%s", self._name())

    async def _delete(self) -> None:
        metadata = self.pod["metadata"]
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        with contextlib.suppress(NotFound, Conflict):
            await self._context.client.request("DELETE", f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}", body)

    def _publish(self) -> None:
        if self._is_removed:
            return
        facts = PodFacts(self._started, self._has_volumes, *self._failure, is_over=self._is_over)
        told = self.pod.get("status", {}).get("conditions") or []
        ours = {each["type"] for each in self._conditions}
        # The watch lags behind our own writes: our last word on our conditions counts, or their times would jump.
        conditions = [*self._conditions, *(each for each in told if each["type"] not in ours)]
        seen = {**self.pod, "status": {"conditions": conditions}}
        status = pod_status(seen, self._containers, facts, time.time())
        self._conditions = status["conditions"]
        self._writer.set(status)

    def _is_terminal(self) -> bool:
        return self.pod.get("status", {}).get("phase") in ("Succeeded", "Failed")

    def _active_deadline(self) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        return None if seconds is None else self._started + float(seconds)

    def _grace_seconds(self) -> float:
        return float(self.pod["spec"].get("terminationGracePeriodSeconds") or 0)

    def _deletion_grace_seconds(self) -> float:
        if self._is_removed:
            return MINIMUM_GRACE_SECONDS
        told = self.pod["metadata"].get("deletionGracePeriodSeconds")
        return self._grace_seconds() if told is None else float(told)

    def _name(self) -> str:
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"

"""The node agent: mirrors the pods bound to this node, one worker each, and keeps the node registered."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from gastown.kube.configuration import Configuration
from gastown.local.node.api_client import ApiClient, Mirror, Object
from gastown.local.node.config import NodeConfig
from gastown.local.node.container_spec import host_view
from gastown.local.node.context import NodeContext
from gastown.local.node.events import EventRecorder
from gastown.local.node.pod_worker import PodWorker
from gastown.local.node.provisioner import Provisioner
from gastown.local.node.references import References
from gastown.local.node.registration import Registration, allocatable
from gastown.local.node.sandbox_probe import CONFINED, UNCONFINED, probe_sandbox
from gastown.local.node.server import NodeServer
from gastown.local.node.services import ServiceDirectory
from gastown.local.node.state_directory import PodFiles, known_pods, memory_directory, running, stop_all_containers, stop_runs
from gastown.removal import remove_tree

_HOSTS_DELAY_SECONDS = 0.2
_TROUBLE_SECONDS = 5.0
_LOCK_SECONDS = 10.0

_log = logging.getLogger(__name__)


class AgentRuns(Exception):
    """Another agent has this state directory; end it first."""


class Agent:
    """One process node."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._context: NodeContext | None = None
        self._hosts_task: asyncio.Task[None] | None = None
        self._has_services = asyncio.Event()
        self._told_addresses: dict[tuple[str, str], str] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then leave the pods running, or end them if so configured."""
        config = self._config
        config.state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        config.volumes_directory.mkdir(parents=True, exist_ok=True)
        lock = _lock(config.state_directory)
        remove_tree(config.state_directory / "trash")
        sandbox = UNCONFINED if config.sandbox == "none" else await probe_sandbox(config.state_directory)
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(ApiClient(_identity(config, config.client_cert_file, config.client_key_file)))
            storage = await stack.enter_async_context(
                ApiClient(_identity(config, config.provisioner_cert_file, config.provisioner_key_file))
            )
            self._context = _make_context(config, client, confined=sandbox == CONFINED)
            server = await stack.enter_async_context(NodeServer(config, self.find_worker))
            registration = Registration(client, config.node_name, server.port, sandbox)
            await registration.register()
            _log.info("node.registered node=%s sandbox=%s port=%d", config.node_name, sandbox, server.port)
            background = [
                registration.keep_alive(),
                registration.heal(),
                self._mirror_pods(client),
                self._service_mirror(client).run(),
                Provisioner(storage, config.node_name, config.volumes_directory).run(),
            ]
            await self._run_until(stop, [asyncio.create_task(each) for each in background])
        if config.stop_pods_on_exit:
            stopped = await asyncio.to_thread(stop_all_containers, config.state_directory)
            _log.info("node.containers_stopped count=%d", stopped)
        lock.close()

    def find_worker(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod by its name; the newest, should an older pod of that name still be ending."""
        found = [each for each in self._workers.values() if each.key == (namespace, name)]
        return found[-1] if found else None

    async def _run_until(self, stop: asyncio.Event, background: list[asyncio.Task[Any]]) -> None:
        waiting = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([waiting, *background], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiting}:
                task.result()  # a background task never ends by itself: let its error end the agent, which is started again
        finally:
            everything = [waiting, *background, *self._tasks.values()]
            for task in everything:
                task.cancel()
            await asyncio.gather(*everything, return_exceptions=True)

    async def _mirror_pods(self, client: ApiClient) -> None:
        await self._has_services.wait()  # or the first pods would lack the variables of Services that exist
        selector = f"&fieldSelector={quote(f'spec.nodeName={self._config.node_name}', safe='')}"
        await Mirror(client, "/api/v1/pods", self._on_pods_listed, self._on_pod, selector).run()

    def _service_mirror(self, client: ApiClient) -> Mirror:
        services = self._get_context().services

        async def _listed(items: list[Object]) -> None:
            services.replace_services(items)
            self._has_services.set()
            self._refresh_hosts_soon()

        async def _changed(kind: str, service: Object) -> None:
            if kind == "DELETED":
                services.remove_service(service)
            else:
                services.set_service(service)
            self._refresh_hosts_soon()

        return Mirror(client, "/api/v1/services", _listed, _changed)

    async def _on_pods_listed(self, pods: list[Object]) -> None:
        present = {pod["metadata"]["uid"] for pod in pods}
        for uid in set(self._workers) - present:
            self._remove(uid)
        orphans = set(known_pods(self._config.state_directory)) - present - set(self._workers)
        await asyncio.gather(*(self._end_orphan(uid) for uid in orphans))
        for pod in pods:
            self._add_or_update(pod)

    async def _on_pod(self, kind: str, pod: Object) -> None:
        if kind == "DELETED":
            self._remove(pod["metadata"]["uid"])
        else:
            self._add_or_update(pod)

    def _add_or_update(self, pod: Mapping[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        context = self._get_context()
        context.services.set_pod(pod)
        if uid in self._workers:
            self._workers[uid].update(pod)
            return
        previous = self.find_worker(pod["metadata"]["namespace"], pod["metadata"]["name"])
        worker = PodWorker(context, pod, self._tasks.get(previous.uid) if previous is not None else None)
        self._workers[uid] = worker
        task = asyncio.create_task(worker.run())
        self._tasks[uid] = task
        task.add_done_callback(lambda done: self._on_worker_done(uid, done))
        self._refresh_hosts_soon()

    def _remove(self, uid: str) -> None:
        self._get_context().services.remove_pod(uid)
        if worker := self._workers.get(uid):
            worker.remove()

    def _on_worker_done(self, uid: str, task: asyncio.Task[None]) -> None:
        worker = self._workers.pop(uid, None)
        self._tasks.pop(uid, None)
        if task.cancelled() or task.exception() is None or worker is None:
            return
        # One pod's trouble stays its own; a fresh worker adopts what runs.
        metadata = worker.pod["metadata"]
        _log.error("pod.worker_failed pod=%s/%s", metadata["namespace"], metadata["name"], exc_info=task.exception())
        asyncio.get_running_loop().call_later(_TROUBLE_SECONDS, self._add_or_update, worker.pod)

    async def _end_orphan(self, uid: str) -> None:
        """The pod went from the API while no agent watched."""
        _log.info("pod.orphan uid=%s", uid)
        state_directory = self._config.state_directory
        files = PodFiles(state_directory, self._get_context().memory_directory, uid)

        def _end() -> None:
            stop_runs(running(state_directory, [uid]), deadline=time.monotonic() + 2.0)
            files.remove()

        await asyncio.to_thread(_end)

    def _refresh_hosts_soon(self) -> None:
        if self._hosts_task is None or self._hosts_task.done():
            self._hosts_task = asyncio.create_task(self._refresh_hosts())

    async def _refresh_hosts(self) -> None:
        await asyncio.sleep(_HOSTS_DELAY_SECONDS)  # many changes, one round of writing
        addresses = self._get_context().services.addresses()
        if addresses == self._told_addresses:
            return
        self._told_addresses = addresses
        for worker in list(self._workers.values()):
            with contextlib.suppress(OSError):
                worker.refresh_hosts()

    def _get_context(self) -> NodeContext:
        if self._context is None:
            raise RuntimeError("the agent has not been started")
        return self._context


def _lock(state_directory: Path) -> IO[str]:
    """Two agents on one state directory would adopt, restart and delete each other's containers. The kernel frees it when we die."""
    file = (state_directory / "lock").open("w", encoding="ascii")
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise AgentRuns(f"another node agent works on {state_directory}; end it, or choose another stateDirectory") from None
            time.sleep(0.1)  # the one before us may be on its last steps
        else:
            return file


def _identity(config: NodeConfig, certificate: str, key: str) -> Configuration:
    return Configuration(server=config.api_server, authority_file=config.ca_file, certificate_file=certificate, key_file=key)


def _make_context(config: NodeConfig, client: ApiClient, *, confined: bool) -> NodeContext:
    memory = memory_directory(config.state_directory)
    server = urlsplit(config.api_server)
    return NodeContext(
        config=config,
        client=client,
        references=References(client),
        events=EventRecorder(client, config.node_name),
        services=ServiceDirectory(),
        view=host_view(config, memory, confined=confined),
        memory_directory=memory,
        allocatable=allocatable(),
        api_host=server.hostname or "127.0.0.1",
        api_port=str(server.port or 443),
    )

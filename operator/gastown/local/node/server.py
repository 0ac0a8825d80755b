"""The node's own HTTPS server: logs and commands for `kubectl`, by way of the API server and for nobody else."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from gastown.local.node.config import NodeConfig
from gastown.local.node.exec_stream import serve_exec
from gastown.local.node.log_stream import parse_options, stream_log
from gastown.local.node.pod_worker import PodWorker
from gastown.local.node.records import Container

FindWorker = Callable[[str, str], PodWorker | None]


class NodeServer:
    """Listens on a free port of 127.0.0.1 while entered as a context manager.

    Args:
        find_worker: Worker by namespace and name of its pod.
    """

    def __init__(self, config: NodeConfig, find_worker: FindWorker) -> None:
        self._config = config
        self._find_worker = find_worker
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> NodeServer:
        app = web.Application(middlewares=[self._authenticate])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_route("*", "/exec/{namespace}/{pod}/{container}", self._exec)
        # A follower of logs must not hold up the end of the agent.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls())
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._config.ca_file)
        context.load_cert_chain(self._config.serving_cert_file, self._config.serving_key_file)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    @web.middleware
    async def _authenticate(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        # Every agent's certificate comes from the same authority: only the API server, which asked RBAC first, may come in.
        certificate = request.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        if request.path != "/healthz" and names != [self._config.kubelet_client_common_name]:
            raise web.HTTPForbidden(text=f"client {names} may not use this node; ask the API server (kubectl logs, kubectl exec)")
        return await handler(request)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    def _find(self, request: web.Request) -> tuple[PodWorker, Container]:
        namespace, pod, name = (request.match_info[key] for key in ("namespace", "pod", "container"))
        worker = self._find_worker(namespace, pod)
        if worker is None:
            raise web.HTTPNotFound(text=f"pod {namespace}/{pod} is not on this node")
        container = worker.container(name)
        if container is None:
            raise web.HTTPNotFound(text=f"pod {namespace}/{pod} has no container {name}")
        return worker, container

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        _, container = self._find(request)
        try:
            options = parse_options(request.query, datetime.now(UTC))
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"log query: {error}") from error
        run = container.previous if options.previous else container.current
        if run is None:
            state = "has no previous run" if options.previous else f"is waiting to start: {container.waiting_reason or 'ContainerCreating'}"
            raise web.HTTPBadRequest(text=f"container {container.name} {state}")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for data in stream_log(run.directory, options, lambda: run.exit is None):
            await response.write(data)
        await response.write_eof()
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        worker, container = self._find(request)
        inside = worker.inside(container.name)
        if inside is None:
            raise web.HTTPBadRequest(text=f"container {container.name} is not running")
        return await serve_exec(request, inside)

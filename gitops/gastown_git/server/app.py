"""The repo-server's web application: smart HTTP for agents and people, trees for gate Jobs, health and counters.

Paths: `/<namespace>/<rig>.git/...` for git, `/<namespace>/<rig>.git/tree/<tree>.tar?exp=&sig=` for gates, `/healthz`, `/readyz`,
`/metrics`. Who a token belongs to is the business of the authenticator that the process hands in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from aiohttp import web

from gastown_git.git_process import require_git
from gastown_git.layout import repository_path
from gastown_git.ref_names import is_label
from gastown_git.repository_settings import MAX_PUSH_BYTES
from gastown_git.server.access import Identity
from gastown_git.server.backend import BackendFailed, run_backend
from gastown_git.server.counters import Counters
from gastown_git.server.push import Push
from gastown_git.server.requests import backend_environment, find_token, raw_body
from gastown_git.server.trees import send_tree
from gastown_git.server.turns import Turns
from gastown_git.server.upkeep import Upkeep

UPLOAD_PACK = "git-upload-pack"
RECEIVE_PACK = "git-receive-pack"
REALM = 'Basic realm="gastown", charset="UTF-8"'
PUSH_WIND_DOWN_SECONDS = 5.0

logger = logging.getLogger("gastown.repo_server")

Answer = TypeVar("Answer")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Authenticator(Protocol):
    """Knows people and agents by their tokens. Any error it raises means "can not be asked": the answer is 503, never yes."""

    async def authenticate(self, token: str) -> Identity | None:
        """Identity behind a token; None for a token that is unknown, expired, or of a session that is over."""

    async def may_read(self, identity: Identity, namespace: str, rig: str) -> bool:
        """Whether the identity may fetch from a rig."""


@dataclass(frozen=True)
class ServerSettings:
    """How the server runs.

    Attributes:
        data: Data folder; repositories lie at `<data>/rigs/<namespace>/<rig>.git`.
        tree_key: Key for links to trees (signed_url.load_key).
        max_push_bytes: Larger pushes are refused before they are read, where the client tells the size; else git stops them.
        max_children: git children at the same time; further requests wait.
        wait_seconds: How long they wait before they are turned away with 503.
        idle_seconds: Longest time a transfer may stand still.
    """

    data: Path
    tree_key: bytes
    max_push_bytes: int = MAX_PUSH_BYTES
    max_children: int = 16
    wait_seconds: float = 60.0
    idle_seconds: float = 300.0


@dataclass(frozen=True)
class Target:
    """A repository as a request names it, and who asks."""

    identity: Identity
    namespace: str
    rig: str
    path: Path


def create_app(settings: ServerSettings, authenticator: Authenticator, *, clock: Callable[[], float] = time.time) -> web.Application:
    """Build the application; run it with `create_runner`.

    Args:
        settings: How to run.
        authenticator: Who is who.
        clock: Seconds since 1970, for the expiry of links.

    Raises:
        GitTooOld: Install a newer git.
    """
    require_git()
    return RepoServer(settings, authenticator, clock).app()


def create_runner(app: web.Application, *, shutdown_seconds: float = 20.0) -> web.AppRunner:
    """Wrap the application as it must be run.

    Bodies stay as they came (git compresses large negotiations, and http-backend wants to know), and a request ends when its
    client goes, which ends its git child.

    Args:
        app: From `create_app`.
        shutdown_seconds: Time for transfers to end when the server stops; then they are cut.
    """
    return web.AppRunner(app, auto_decompress=False, handler_cancellation=True, access_log=None, shutdown_timeout=shutdown_seconds)


class RepoServer:
    """Handlers and their shared state. Built by `create_app`."""

    def __init__(self, settings: ServerSettings, authenticator: Authenticator, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.counters = Counters()
        self._authenticator = authenticator
        self._clock = clock
        self._children = asyncio.Semaphore(settings.max_children)
        self._turns = Turns()

    def app(self) -> web.Application:
        """Routes and background work."""
        app = web.Application(client_max_size=0, middlewares=[self._observe])
        repository = "/{namespace}/{rig}.git"
        app.add_routes(
            [
                web.get(f"{repository}/info/refs", self._advertise, allow_head=False),
                web.post(f"{repository}/{UPLOAD_PACK}", self._upload_pack),
                web.post(f"{repository}/{RECEIVE_PACK}", self._receive_pack),
                web.get(f"{repository}/tree/{{tree}}.tar", self._tree, allow_head=False),
                web.get("/healthz", self._healthy),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._metrics),
            ]
        )
        app.cleanup_ctx.append(Upkeep(self.settings.data, self.counters, self._turns).run)
        return app

    # -- git

    async def _advertise(self, request: web.Request) -> web.StreamResponse:
        service = request.query.get("service", "")
        if service not in {UPLOAD_PACK, RECEIVE_PACK}:
            raise web.HTTPForbidden(text="only git's smart protocol is served here; use git 2.38 or newer\n")
        target = await self._target(request)
        return await self._run(request, target, "info/refs", service)

    async def _upload_pack(self, request: web.Request) -> web.StreamResponse:
        return await self._run(request, await self._target(request), UPLOAD_PACK, UPLOAD_PACK)

    async def _receive_pack(self, request: web.Request) -> web.StreamResponse:
        target = await self._target(request)
        push = Push(
            request,
            target.identity,
            target.namespace,
            target.rig,
            target.path,
            self.counters,
            max_push_bytes=self.settings.max_push_bytes,
            idle_seconds=self.settings.idle_seconds,
        )
        try:
            async with self._turns.push(target.path), self._child_slot():
                refused = await push.judge()
                if refused is not None:
                    return refused
                environment = push.environment(RECEIVE_PACK)
                return await self._backend(request, push.body(), environment, RECEIVE_PACK, after=push.settle)
        except zlib.error as error:
            raise web.HTTPBadRequest(text=f"request body is not gzip as its header says: {error}\n") from error

    async def _run(self, request: web.Request, target: Target, service_path: str, service: str) -> web.StreamResponse:
        environment = backend_environment(request, target.path, service_path, actor=target.identity.actor)
        async with self._child_slot():
            return await self._backend(request, raw_body(request), environment, service)

    async def _backend(
        self,
        request: web.Request,
        body: AsyncIterator[bytes],
        environment: dict[str, str],
        service: str,
        after: Callable[[], Awaitable[None]] | None = None,
    ) -> web.StreamResponse:
        try:
            return await run_backend(
                request,
                body,
                environment,
                self.counters,
                service=service,
                idle_seconds=self.settings.idle_seconds,
                wind_down_seconds=PUSH_WIND_DOWN_SECONDS if after is not None else 0.0,
                after=after,
            )
        except BackendFailed as error:
            logger.error("backend_failed", extra={"service": service, "path": request.path, "reason": str(error)})
            raise web.HTTPInternalServerError(text="git failed here; see the repo-server's log\n") from error

    @contextlib.asynccontextmanager
    async def _child_slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.settings.wait_seconds):
                await self._children.acquire()
        except TimeoutError:
            raise web.HTTPServiceUnavailable(text="too many transfers at once; try again\n", headers={"Retry-After": "10"}) from None
        try:
            yield
        finally:
            self._children.release()

    async def _target(self, request: web.Request) -> Target:
        """Find out who asks for which repository, in the order that tells strangers least."""
        namespace, rig = request.match_info["namespace"], request.match_info["rig"]
        identity = await self._identify(request)
        if not (is_label(namespace) and is_label(rig)):
            raise web.HTTPNotFound(text="no such repository; the path is /<namespace>/<rig>.git\n")
        if not await self._ask(self._authenticator.may_read(identity, namespace, rig)):
            raise web.HTTPForbidden(text=f"{identity.actor} may not read {namespace}/{rig}; agents read the rigs of their own town\n")
        path = repository_path(self.settings.data, namespace, rig)
        if not path.is_dir():
            raise web.HTTPNotFound(text=f"no repository {namespace}/{rig} yet; wait until the rig's condition RepositoryReady is True\n")
        return Target(identity, namespace, rig, path)

    async def _identify(self, request: web.Request) -> Identity:
        token = find_token(request)
        identity = None if token is None else await self._ask(self._authenticator.authenticate(token))
        if identity is None:
            text = "no token; set up the credential helper" if token is None else "token is not valid here, or its session is over"
            raise web.HTTPUnauthorized(text=f"{text}: git config credential.helper '!gt credential'\n", headers={"WWW-Authenticate": REALM})
        return identity

    async def _ask(self, question: Awaitable[Answer]) -> Answer:
        try:
            return await question
        except Exception as error:
            logger.warning("authenticator_failed", extra={"reason": f"{type(error).__name__}: {error}"})
            headers = {"Retry-After": "2"}
            raise web.HTTPServiceUnavailable(text="tokens can not be checked right now; try again\n", headers=headers) from error

    # -- trees

    async def _tree(self, request: web.Request) -> web.StreamResponse:
        async with self._child_slot():
            return await send_tree(request, self.settings.data, self.settings.tree_key, self._clock(), self.counters)

    # -- health

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if not os.access(self.settings.data, os.R_OK | os.W_OK | os.X_OK):
            return web.Response(status=503, text=f"data folder {self.settings.data} is not there or not writable\n")
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self.counters.text())

    @web.middleware
    async def _observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        service = _service_of(request)
        started = time.monotonic()
        status = "cancelled"
        try:
            response = await handler(request)
            status = str(response.status)
        except web.HTTPException as error:
            status = str(error.status)
            raise
        except TimeoutError:
            status = "408"
            logger.warning("transfer_stalled", extra={"service": service, "path": request.path})
            if request.transport is not None:
                request.transport.abort()  # an answer may be half sent: a second one behind it would be read as a part of it
            raise web.HTTPRequestTimeout from None
        finally:
            self.counters.add("gastown_repo_requests_total", service=service, status=status)
            self.counters.add("gastown_repo_request_seconds_total", time.monotonic() - started, service=service)
        return response


def _service_of(request: web.Request) -> str:
    """Label for the counters; never text of the client's own making."""
    name = request.path.rpartition("/")[2]
    if name == "refs":
        asked = request.query.get("service", "")
        return f"advertise-{asked}" if asked in {UPLOAD_PACK, RECEIVE_PACK} else "other"
    if name in {UPLOAD_PACK, RECEIVE_PACK}:
        return name
    return "tree" if name.endswith(".tar") else "other"

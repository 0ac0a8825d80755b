"""The node's client of the API server: dicts in and out, strategic-merge patches, and a LIST + WATCH that never ends.

Separate from `gastown.kube.aio` because a node speaks the core kinds only, whole and untyped, with verbs nobody else needs
(strategic merge, TokenRequest, deletion with grace 0), and with its own rule about 403.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from gastown.kube.configuration import Configuration
from gastown.kube.errors import ApiError, Forbidden, Gone, TooManyRequests, Unavailable, error_from_answer, error_from_status

Object = dict[str, Any]

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
_REQUEST_SECONDS = 30.0
_CONNECTIONS = 16
_WATCH_SECONDS = 540
# Bookmarks come about once a minute; a stream silent for longer than two is taken for dead.
_SILENCE_SECONDS = 150.0
_FIRST_RETRY_SECONDS = 0.01
_AUTHORIZER_SECONDS = 5.0

_log = logging.getLogger(__name__)


class ApiClient:
    """One identity at the API server; an async context manager.

    Args:
        configuration: Where the server is and who we are.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._server = configuration.server.rstrip("/")
        self._context = configuration.ssl_context()
        self._session: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ApiClient:
        headers = {"User-Agent": "gastown-process-node", "Accept": "application/json"}
        # Few connections for requests: a burst of pods would otherwise open hundreds. Watches hold theirs for good, so they are apart.
        requests = aiohttp.TCPConnector(ssl=self._context or True, limit=_CONNECTIONS, keepalive_timeout=60)
        streams = aiohttp.TCPConnector(ssl=self._context or True, limit=0)
        self._session = aiohttp.ClientSession(connector=requests, headers=headers)
        self._streams = aiohttp.ClientSession(connector=streams, headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._session, self._streams):
            if session is not None:
                await session.close()

    async def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Object:
        """One request; waits and repeats while the server is away or asks to wait, for 30 s.

        Raises:
            gastown.kube.errors.ApiError: The answer was an error, or none came.
        """
        deadline = asyncio.get_running_loop().time() + _REQUEST_SECONDS
        wait = 0.1
        while True:
            try:
                return await self._once(method, path, body, content_type)
            except (TooManyRequests, Unavailable) as error:
                # Repeating is harmless for all a node writes: patches are absolute, creates have fixed names, deletes carry a uid.
                if asyncio.get_running_loop().time() + wait > deadline:
                    raise
                await asyncio.sleep(max(wait, getattr(error, "retry_after_seconds", 0.0)))
                wait = min(wait * 2, 2.0)

    async def get(self, path: str) -> Object:
        """GET, patient with the Node authorizer."""
        return await self.patiently("GET", path)

    async def patiently(self, method: str, path: str, body: Any = None) -> Object:
        """A request about something a pod refers to.

        For some milliseconds after a binding the Node authorizer has not seen the pod and answers 403: about one pod in nine.
        Retrying from 10 ms, doubled, keeps start latency; a fixed second would be its 95th percentile.
        """
        wait = _FIRST_RETRY_SECONDS
        spent = 0.0
        while True:
            try:
                return await self.request(method, path, body)
            except Forbidden:
                if spent > _AUTHORIZER_SECONDS:
                    raise
                await asyncio.sleep(wait)
                spent += wait
                wait = min(wait * 2, 1.0)

    async def _once(self, method: str, path: str, body: Any, content_type: str) -> Object:
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
            headers = {"Content-Type": content_type}
            async with _open(self._session).request(method, self._server + path, data=data, headers=headers, timeout=timeout) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(0, "", str(error) or type(error).__name__, method.lower(), path, may_have_happened=True) from error
        if answer.status >= 400:
            raise error_from_answer(answer.status, content, method.lower(), path, answer.headers.get("Retry-After"))
        parsed: Object = json.loads(content)
        return parsed

    async def watch(self, path: str, resource_version: str, selector: str = "") -> AsyncIterator[Object]:
        """Raw watch events after a version, bookmarks included, until the server ends the stream.

        Raises:
            Gone: List again.
            Unavailable: The connection broke or fell silent.
        """
        query = f"watch=true&allowWatchBookmarks=true&timeoutSeconds={_WATCH_SECONDS}&resourceVersion={resource_version}{selector}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE_SECONDS)
        rest = b""
        try:
            async with _open(self._streams).get(f"{self._server}{path}?{query}", timeout=timeout) as answer:
                if answer.status >= 400:
                    raise error_from_answer(answer.status, await answer.read(), "watch", path, answer.headers.get("Retry-After"))
                # Lines are cut by hand: the stream's own readline gives up beyond 64 KiB, and a Pod may be larger.
                async for chunk in answer.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event: Object = json.loads(line)
                        if event["type"] == "ERROR":
                            raise error_from_status(event["object"], "watch", path)
                        yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(0, "", str(error) or type(error).__name__, "watch", path, may_have_happened=False) from error


def _open(session: aiohttp.ClientSession | None) -> aiohttp.ClientSession:
    if session is None:
        raise RuntimeError("use the client as an async context manager")
    return session


@dataclass(frozen=True, slots=True)
class Mirror:
    """A local copy of a collection, kept by LIST + WATCH for as long as the task runs.

    Attributes:
        selector: Part of the query string that starts with `&`, such as `&fieldSelector=spec.nodeName%3Dlaptop`.
        on_listed: Gets all objects after each LIST; what it does not find there is gone.
        on_event: Gets (ADDED | MODIFIED | DELETED, object).
    """

    client: ApiClient
    path: str
    on_listed: Callable[[list[Object]], Awaitable[None]]
    on_event: Callable[[str, Object], Awaitable[None]]
    selector: str = ""

    async def run(self) -> None:
        """List, then watch from there; after a lost stream go on where it ended, after a 410 list again."""
        failures = 0
        version = ""
        while True:
            try:
                version = version or await self._list()
                async for event in self.client.watch(self.path, version, self.selector):
                    failures = 0
                    if event["type"] != "BOOKMARK":
                        await self.on_event(event["type"], event["object"])
                    version = event["object"]["metadata"]["resourceVersion"]
            except Gone:
                version = ""
            except ApiError as error:
                failures += 1
                if failures in (3, 30):
                    _log.warning("watch.failing path=%s error=%s", self.path, error)
                # Jitter: after a restart of the API server all watchers come back at once.
                await asyncio.sleep(min(0.05 * 2**failures, 3.0) * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    async def _list(self) -> str:
        listing = await self.client.request("GET", f"{self.path}?{self.selector.lstrip('&')}")
        await self.on_listed(listing["items"])
        return str(listing["metadata"]["resourceVersion"])

"""Asynchronous client of the API server, for daemons: typed answers by msgspec, streaming watches.

httpx-based clients cost 3-16 times the CPU per request, the generated ones 2.5 times; aiohttp with msgspec is what is left of a
request after those (figures: docs/explanation/limits.md).
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from gastown.api.codec import to_dict
from gastown.api.kinds import Kind
from gastown.kube import paths
from gastown.kube.clock import ServerClock
from gastown.kube.configuration import Configuration, ConfigurationError
from gastown.kube.decoding import Listing, WatchEvent, decode_answer, decode_page
from gastown.kube.errors import ApiError, Gone, Silent, Unauthorized, Unavailable, error_from_answer
from gastown.kube.options import delete_options
from gastown.kube.retry import DEFAULT_POLICY, RetryPolicy
from gastown.kube.watch import events_of

PAGE = 500


class Client:
    """One identity at one API server; use it as an async context manager.

    Every verb has a deadline over all its attempts and raises the errors of `gastown.kube.errors`. Objects go out as dicts or as
    dataclasses of `gastown.api` and come back as `kind.type` (as dicts with `raw=True`).

    Args:
        configuration: Where and who.
        user_agent: Shown in the audit log.
        connections: For everything but watches, which have their own: a few suffice, the API server's CPU is the limit.
        deadline_seconds: Of each call.
        policy: What is retried.
        roll: Random numbers in [0, 1) that spread retries.

    Attributes:
        requests: (verb, plural, HTTP status; 0 = no answer) -> number of requests sent, retries included.
        clock: The API server's, by its answers.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        user_agent: str,
        connections: int = 8,
        deadline_seconds: float = 30.0,
        policy: RetryPolicy = DEFAULT_POLICY,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self.configuration = configuration
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.clock = ServerClock()
        self._user_agent = user_agent
        self._connections = connections
        self._deadline_seconds = deadline_seconds
        self._policy = policy
        self._roll = roll
        self._session: aiohttp.ClientSession | None = None
        self._watch_session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        context = self.configuration.ssl_context()
        # Watches hold their connection for minutes; in one pool they would starve the requests.
        self._session = _session(context, self._connections, self._user_agent)
        self._watch_session = _session(context, 0, self._user_agent)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for session in (self._session, self._watch_session):
            if session is not None:
                await session.close()

    async def get(self, kind: Kind, namespace: str, name: str, *, raw: bool = False) -> Any:
        """Read one object."""
        return await self._object("get", kind, "GET", paths.item(kind, namespace, name), raw=raw)

    async def list_all(
        self, kind: Kind, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "", raw: bool = False
    ) -> Listing:
        """Read all objects, page by page, as of one moment; in one namespace, or (None) in all.

        Asks for the newest state (no resourceVersion), never for a cache that may lag behind what was seen already.
        """
        root = paths.collection(kind, namespace)
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        try:
            return await self._pages(kind, root, selectors, PAGE, raw=raw)
        except Gone:  # the list took longer than the server keeps its moment: all at once then
            return await self._pages(kind, root, selectors, None, raw=raw)

    async def create(self, kind: Kind, value: Any, *, namespace: str = "", subresource: str = "", name: str = "", raw: bool = False) -> Any:
        """Create an object.

        Args:
            namespace: Default is the object's own.
            subresource, name: Post to a subresource of an object instead, such as token of a ServiceAccount (then with `raw`).
        """
        body = to_dict(value)
        where = namespace or body.get("metadata", {}).get("namespace", "")
        path = paths.item(kind, where, name, subresource) if subresource else paths.collection(kind, where)
        return await self._object("create", kind, "POST", path, body, raw=raw, repeatable=False)

    async def merge_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
        repeatable: bool = True,
        raw: bool = False,
    ) -> Any:
        """JSON merge patch; put metadata.resourceVersion into it to make it conditional (then a loser gets Conflict).

        Args:
            repeatable: False raises Unavailable instead of sending a patch again that may have happened: the second answer would be
                Conflict, also when it was the first that made it.
        """
        path = paths.item(kind, namespace, name, subresource)
        return await self._object("patch", kind, "PATCH", path, patch, paths.MERGE_PATCH, raw=raw, repeatable=repeatable)

    async def json_patch(
        self, kind: Kind, namespace: str, name: str, patch: Sequence[Mapping[str, Any]], *, subresource: str = "", raw: bool = False
    ) -> Any:
        """JSON patch; a `test` that does not hold raises Invalid. Not repeated when the first attempt may have happened."""
        path = paths.item(kind, namespace, name, subresource)
        return await self._object("patch", kind, "PATCH", path, patch, paths.JSON_PATCH, raw=raw, repeatable=False)

    async def apply(self, kind: Kind, value: Any, *, manager: str, subresource: str = "", force: bool = True, raw: bool = False) -> Any:
        """Server-side apply of exactly the fields in `value`."""
        body = {"apiVersion": kind.api_version, "kind": kind.name, **to_dict(value)}
        path = paths.item(kind, body["metadata"].get("namespace", ""), body["metadata"]["name"], subresource)
        path = paths.with_query(path, fieldManager=manager, force=force)
        return await self._object("apply", kind, "PATCH", path, body, paths.APPLY_PATCH, raw=raw)

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", resource_version: str = "", grace_seconds: int | None = None
    ) -> None:
        """Delete one object, dependants in the background; Conflict if it is not the one with that uid or version."""
        options = delete_options(uid, resource_version, grace_seconds)
        await self._call("delete", kind, "DELETE", paths.item(kind, namespace, name), options)

    async def watch(
        self,
        kind: Kind,
        namespace: str | None,
        resource_version: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float = 600.0,
        silence_seconds: float = 90.0,
        raw: bool = False,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `resource_version`, until the server ends the stream; close the generator (`aclosing`) to end it earlier.

        Args:
            timeout_seconds: Asked of the server; the stream ends normally after it.
            silence_seconds: Without a line for so long (bookmarks come every minute) the connection counts as dead.

        Raises:
            Gone: That version is compacted; list again.
            Silent: Not even a bookmark came; list again.
            Unavailable: Cut off; go on from the last event's version.
        """
        path = paths.with_query(
            paths.collection(kind, namespace),
            watch=True,
            allowWatchBookmarks=True,
            resourceVersion=resource_version,
            timeoutSeconds=int(timeout_seconds),
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        assert self._watch_session is not None, "use the client as a context manager"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence_seconds)
        try:
            async with self._watch_session.get(self._url(path), headers=self._headers(None, "watch", path), timeout=timeout) as answer:
                self.requests["watch", kind.plural, str(answer.status)] += 1
                if answer.status >= 400:
                    raise error_from_answer(answer.status, await answer.read(), "watch", path, answer.headers.get("Retry-After"))
                async for event in events_of(kind, answer.content.iter_any(), path, raw=raw):
                    yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise Silent(0, "Silent", f"nothing for {silence_seconds:g} s", "watch", path, may_have_happened=True) from error
            raise Unavailable(0, "NoAnswer", _told(error), "watch", path, may_have_happened=True) from error

    async def _object(
        self,
        verb: str,
        kind: Kind,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = paths.JSON,
        *,
        raw: bool,
        repeatable: bool = True,
    ) -> Any:
        data = await self._call(verb, kind, method, path, body, content_type, repeatable=repeatable)
        return decode_answer(kind, data, verb, path, raw=raw)

    async def _pages(self, kind: Kind, root: str, selectors: Mapping[str, str], limit: int | None, *, raw: bool) -> Listing:
        items: list[Any] = []
        listing = Listing(items, "", [])
        token = ""
        while True:
            path = paths.with_query(root, limit=limit, **selectors, **{"continue": token})
            page = decode_page(kind, await self._call("list", kind, "GET", path), listing, path, raw=raw)
            token = page.metadata.token
            if not token:
                return Listing(items, page.metadata.resourceVersion, listing.undecodable)
            await asyncio.sleep(0)  # decoding 500 objects takes 2 ms; heartbeats and probes go first

    async def _call(
        self,
        verb: str,
        kind: Kind,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = paths.JSON,
        *,
        repeatable: bool = True,
    ) -> bytes:
        payload = None if body is None else msgspec.json.encode(body)
        deadline = time.monotonic() + self._deadline_seconds
        attempt, renewed = 0, False
        while True:
            attempt += 1
            try:
                return await self._once(verb, kind, method, path, payload, content_type, deadline - time.monotonic())
            except Unauthorized:
                # The token may have rotated between reading and use: once more with a fresh look, never in a loop.
                if renewed or self.configuration.token_file is None:
                    raise
                renewed = True
            except ApiError as error:
                left = deadline - time.monotonic()
                wait = self._policy.wait_before_next(error, attempt, left, self._roll(), repeatable=repeatable)
                if wait is None:
                    raise
                await asyncio.sleep(wait)

    async def _once(
        self, verb: str, kind: Kind, method: str, path: str, payload: bytes | None, content_type: str, left_seconds: float
    ) -> bytes:
        assert self._session is not None, "use the client as a context manager"
        status = "0"
        sent = time.monotonic()
        headers = self._headers(content_type if payload is not None else None, verb, path)
        try:
            async with (
                asyncio.timeout(left_seconds),
                self._session.request(method, self._url(path), data=payload, headers=headers) as answer,
            ):
                status = str(answer.status)
                self.clock.heard(answer.headers.get("Date"), sent)
                data = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"no answer within {left_seconds:.1f} s" if isinstance(error, TimeoutError) else _told(error)
            happened = not isinstance(error, aiohttp.ClientConnectorError)
            raise Unavailable(0, "NoAnswer", message, verb, path, may_have_happened=happened) from error
        finally:
            self.requests[verb, kind.plural, status] += 1
        if answer.status >= 400:
            raise error_from_answer(answer.status, data, verb, path, answer.headers.get("Retry-After"))
        return data

    def _url(self, path: str) -> URL:
        return URL(self.configuration.server + path, encoded=True)

    def _headers(self, content_type: str | None, verb: str, path: str) -> dict[str, str]:
        headers = {"Accept": paths.JSON}
        if content_type is not None:
            headers["Content-Type"] = content_type
        try:
            token = self.configuration.bearer_token()
        except ConfigurationError as error:  # the volume is being swapped, or was never mounted: the same to a retry
            raise Unavailable(0, "NoToken", str(error), verb, path, may_have_happened=False) from error
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _session(context: ssl.SSLContext | None, limit: int, user_agent: str) -> aiohttp.ClientSession:
    # 60 s is less than the API server's 90 s, so that we close first and never send into a closed connection.
    connector = aiohttp.TCPConnector(limit=limit, ssl=context if context is not None else True, keepalive_timeout=60)
    return aiohttp.ClientSession(connector=connector, headers={"User-Agent": user_agent}, cookie_jar=aiohttp.DummyCookieJar())


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__

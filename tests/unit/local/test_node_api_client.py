"""The node's client on bad days: streams that break, histories that are gone, servers that are away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gastown.kube.configuration import Configuration
from gastown.kube.errors import Forbidden, NotFound
from gastown.local.node.api_client import ApiClient, Mirror
from support.scripted_server import ScriptedServer, answer, event, failure, stream


def pod(name: str, version: int, **extra: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version), **extra}}


def listing(version: int, *pods: dict[str, Any]) -> Any:
    return answer(200, {"metadata": {"resourceVersion": str(version)}, "items": list(pods)})


class Seen:
    """What a mirror told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[str]]] = []
        self.changed = asyncio.Event()

    async def listed(self, items: list[dict[str, Any]]) -> None:
        self.told.append(("LIST", [each["metadata"]["name"] for each in items]))
        self.changed.set()

    async def event(self, kind: str, value: dict[str, Any]) -> None:
        self.told.append((kind, [value["metadata"]["name"]]))
        self.changed.set()


def mirror(server: ScriptedServer, until: Callable[[Seen], bool]) -> Seen:
    """Run a mirror until it has told enough."""

    async def _run() -> Seen:
        seen = Seen()
        async with ApiClient(Configuration(server=server.url)) as client:
            task = asyncio.create_task(Mirror(client, "/api/v1/pods", seen.listed, seen.event, "&fieldSelector=x").run())
            async with asyncio.timeout(10):
                while not until(seen):
                    seen.changed.clear()
                    await seen.changed.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return seen

    return asyncio.run(_run())


def use(server: ScriptedServer, work: Callable[[ApiClient], Awaitable[Any]]) -> Any:
    async def _run() -> Any:
        async with ApiClient(Configuration(server=server.url)) as client:
            return await work(client)

    return asyncio.run(_run())


def test_after_a_list_the_watch_goes_on_from_its_version() -> None:
    with ScriptedServer() as server:
        server.then(listing(5, pod("a", 3)), stream(event("ADDED", pod("b", 6)), event("DELETED", pod("a", 7)), after="hang"))
        seen = mirror(server, lambda seen: len(seen.told) == 3)
        assert seen.told == [("LIST", ["a"]), ("ADDED", ["b"]), ("DELETED", ["a"])]
        assert "resourceVersion=5" in server.requests[1].target
        assert "allowWatchBookmarks=true" in server.requests[1].target
        assert "fieldSelector=x" in server.requests[0].target


def test_a_stream_that_ends_is_resumed_where_it_was_and_bookmarks_count() -> None:
    with ScriptedServer() as server:
        server.then(
            listing(5),
            stream(event("ADDED", pod("a", 6)), event("BOOKMARK", pod("", 90))),
            stream(event("ADDED", pod("b", 91)), after="close"),
            stream(event("ADDED", pod("c", 92)), after="hang"),
        )
        seen = mirror(server, lambda seen: seen.told[-1:] == [("ADDED", ["c"])])
        assert [kind for kind, _ in seen.told].count("LIST") == 1
        assert ["resourceVersion=90" in server.requests[2].target, "resourceVersion=91" in server.requests[3].target] == [True, True]


@pytest.mark.parametrize("inside", [False, True], ids=["as an answer", "inside the stream"])
def test_a_history_that_is_gone_means_listing_again(inside: bool) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    told = stream(event("ERROR", gone)) if inside else failure(410, "Expired")
    with ScriptedServer() as server:
        server.then(listing(5, pod("a", 3)), told, listing(50, pod("b", 40)), stream(after="hang"))
        seen = mirror(server, lambda seen: len(seen.told) == 2)
        assert seen.told == [("LIST", ["a"]), ("LIST", ["b"])]


def test_an_event_larger_than_any_buffer_arrives_in_one_piece() -> None:
    large = event("ADDED", pod("big", 6, annotations={"text": "x" * 300_000}))
    with ScriptedServer() as server:
        server.then(listing(5), stream(large[:70_000], large[70_000:], after="hang"))
        assert mirror(server, lambda seen: len(seen.told) == 2).told[1] == ("ADDED", ["big"])


def test_a_server_that_is_away_is_waited_for() -> None:
    with ScriptedServer() as server:
        server.then(
            failure(503, "ServiceUnavailable"), failure(429, "TooManyRequests", headers={"Retry-After": "0"}), answer(200, {"ok": 1})
        )
        assert use(server, lambda client: client.request("GET", "/x")) == {"ok": 1}


def test_the_authorizer_that_has_not_seen_the_pod_yet_is_waited_for() -> None:
    with ScriptedServer() as server:
        server.then(*[failure(403, "Forbidden") for _ in range(3)], answer(200, {"ok": 1}))
        assert use(server, lambda client: client.get("/x")) == {"ok": 1}
        server.then(failure(403, "Forbidden"))
        with pytest.raises(Forbidden):
            use(server, lambda client: client.request("GET", "/x"))


def test_other_errors_are_raised_at_once_with_what_was_asked() -> None:
    with ScriptedServer() as server:
        server.then(failure(404, "NotFound", "pods x not found"))
        with pytest.raises(NotFound, match="get /x"):
            use(server, lambda client: client.get("/x"))
        assert len(server.requests) == 1

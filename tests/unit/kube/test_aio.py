"""The async client against a server on its bad days; the good days are in tests/api."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from gastown.api.bead import Bead
from gastown.api.kinds import BEAD
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration, TokenFile
from gastown.kube.decoding import WatchEvent
from gastown.kube.errors import ApiError, Gone, TooManyRequests, Unavailable
from gastown.kube.retry import RetryPolicy
from support.scripted_server import Request, Scripted, ScriptedServer, answer, event, failure, stream

QUICK = RetryPolicy(attempts=3, first_seconds=0.001, longest_seconds=0.01)
T = TypeVar("T")


def bead(name: str, version: int = 1) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "town", "resourceVersion": str(version)}, "spec": {"title": "t"}}


OK = answer(200, bead("gp-1"))


def run(server: ScriptedServer, act: Callable[[Client], Awaitable[T]], *, deadline_seconds: float = 5, token_file: Path | None = None) -> T:
    configuration = Configuration(server=server.url, token="t", token_file=TokenFile(str(token_file)) if token_file else None)

    async def inside() -> T:
        async with Client(configuration, user_agent="test", policy=QUICK, deadline_seconds=deadline_seconds) as client:
            return await act(client)

    return asyncio.run(inside())


def test_an_answer_becomes_the_kinds_type(server: ScriptedServer) -> None:
    server.then(OK)
    found = run(server, lambda client: client.get(BEAD, "town", "gp-1"))
    assert isinstance(found, Bead)
    assert found.spec.title == "t"


def test_a_dataclass_is_sent_without_what_is_empty(server: ScriptedServer) -> None:
    server.then(OK)
    run(server, lambda client: client.create(BEAD, Bead(), namespace="town"))
    assert server.requests[0].json["spec"] == {"type": "task", "priority": 2, "state": "open", "delivery": "Commit", "estimateMinutes": 0}


def test_requests_are_counted_by_verb_kind_and_answer_retries_included(server: ScriptedServer) -> None:
    server.then(failure(503, "Unavailable"), OK, failure(404, "NotFound"))

    async def act(client: Client) -> dict[tuple[str, str, str], int]:
        await client.get(BEAD, "town", "gp-1")
        with pytest.raises(ApiError):
            await client.delete(BEAD, "town", "gp-1")
        return dict(client.requests)

    assert run(server, act) == {("get", "beads", "503"): 1, ("get", "beads", "200"): 1, ("delete", "beads", "404"): 1}


def test_an_overloaded_server_is_asked_again_and_then_told_as_such(server: ScriptedServer) -> None:
    server.then(*[failure(429, "TooManyRequests", headers={"Retry-After": "0"})] * 3)
    with pytest.raises(TooManyRequests):
        run(server, lambda client: client.create(BEAD, bead("gp-1")))
    assert len(server.requests) == 3


@pytest.mark.parametrize("bad", [failure(500, "InternalError"), Scripted(b"", "close")], ids=["error", "cut off"])
def test_a_create_that_may_have_happened_is_not_sent_again(server: ScriptedServer, bad: Scripted) -> None:
    server.then(bad, OK)
    with pytest.raises(Unavailable) as told:
        run(server, lambda client: client.create(BEAD, bead("gp-1")))
    assert told.value.may_have_happened
    assert len(server.requests) == 1


def test_a_conditional_patch_is_sent_again_because_twice_is_a_conflict(server: ScriptedServer) -> None:
    server.then(Scripted(b"", "close"), OK)
    run(server, lambda client: client.merge_patch(BEAD, "town", "gp-1", {"spec": {"state": "closed"}}))
    assert len(server.requests) == 2


def test_the_deadline_covers_all_attempts(server: ScriptedServer) -> None:
    server.then(failure(500, "InternalError"))
    with pytest.raises(Unavailable, match="no answer within"):
        run(server, lambda client: client.get(BEAD, "town", "gp-1"), deadline_seconds=0.2)


def test_a_token_that_rotated_between_reading_and_use_is_read_again_once(server: ScriptedServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")

    def rotate(_: Request) -> Scripted:
        token.write_text("newer")
        return failure(401, "Unauthorized")

    server.then(rotate, OK)
    run(server, lambda client: client.get(BEAD, "town", "gp-1"), token_file=token)
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer old", "Bearer newer"]


def test_a_missing_token_is_waited_for_as_for_a_server(server: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is the token volume mounted"):
        run(server, lambda client: client.get(BEAD, "town", "gp-1"), token_file=tmp_path / "none")
    assert server.requests == []


def test_a_list_spans_pages_and_leaves_out_only_what_does_not_fit(server: ScriptedServer) -> None:
    odd = {"metadata": {"name": "gp-2", "namespace": "town"}, "spec": {"priority": "high"}}
    server.then(
        answer(200, {"metadata": {"resourceVersion": "9", "continue": "a&b"}, "items": [bead("gp-1"), odd]}),
        answer(200, {"metadata": {"resourceVersion": "9"}, "items": [bead("gp-3")]}),
    )
    listing = run(server, lambda client: client.list_all(BEAD, "town", label_selector="a!=b"))
    assert [item.metadata.name for item in listing.items] == ["gp-1", "gp-3"]
    assert [(item.name, item.namespace) for item in listing.undecodable] == [("gp-2", "town")]
    assert listing.resource_version == "9"
    assert [request.target.partition("?")[2] for request in server.requests] == [
        "limit=500&labelSelector=a%21%3Db",
        "limit=500&labelSelector=a%21%3Db&continue=a%26b",
    ]


def test_a_list_that_takes_longer_than_its_moment_is_kept_starts_over_at_once(server: ScriptedServer) -> None:
    server.then(
        answer(200, {"metadata": {"continue": "more"}, "items": [bead("gp-1")]}),
        failure(410, "Expired"),
        answer(200, {"metadata": {"resourceVersion": "9"}, "items": [bead("gp-2")]}),
    )
    listing = run(server, lambda client: client.list_all(BEAD, "town"))
    assert [item.metadata.name for item in listing.items] == ["gp-2"]


def test_an_answer_that_makes_no_sense_is_our_error(server: ScriptedServer) -> None:
    server.then(answer(200, {"items": 5}), answer(200, []))
    with pytest.raises(ApiError, match="is no list"):
        run(server, lambda client: client.list_all(BEAD, "town"))
    with pytest.raises(ApiError, match="is no Bead"):
        run(server, lambda client: client.get(BEAD, "town", "gp-1"))


async def _watch(client: Client, into: list[WatchEvent], silence_seconds: float = 5) -> None:
    async for found in client.watch(BEAD, "town", "5", silence_seconds=silence_seconds):
        into.append(found)  # noqa: PERF401 - what came before an error counts


def test_a_watch_ends_when_the_server_ends_it(server: ScriptedServer) -> None:
    server.then(stream(event("ADDED", bead("gp-1", 6)), event("BOOKMARK", {"metadata": {"resourceVersion": "8"}})))
    found: list[WatchEvent] = []
    run(server, lambda client: _watch(client, found))
    assert [(item.type, item.resource_version) for item in found] == [("ADDED", "6"), ("BOOKMARK", "8")]
    assert "resourceVersion=5" in server.requests[0].target
    assert "allowWatchBookmarks=true" in server.requests[0].target


@pytest.mark.parametrize(
    ("line", "error"),
    [
        pytest.param(failure(410, "Expired"), Gone, id="too old when asked"),
        pytest.param(stream(event("ERROR", {"code": 410, "reason": "Expired"})), Gone, id="too old in the stream"),
        pytest.param(failure(429, "TooManyRequests"), TooManyRequests, id="overloaded"),
        pytest.param(stream(event("ADDED", bead("gp-1", 6))[:-9], after="close"), Unavailable, id="half a line, then cut off"),
        pytest.param(stream(event("ADDED", bead("gp-1", 6))[:-9]), Unavailable, id="half a line, then a proper end"),
        pytest.param(stream(after="hang"), Unavailable, id="silent"),
        pytest.param(Scripted(b"", "close"), Unavailable, id="cut off before the answer"),
    ],
)
def test_a_watch_that_goes_wrong_says_how(server: ScriptedServer, line: Scripted, error: type[ApiError]) -> None:
    server.then(line)
    found: list[WatchEvent] = []
    with pytest.raises(error):
        run(server, lambda client: _watch(client, found, silence_seconds=0.2))
    assert found == []

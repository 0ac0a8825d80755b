"""The informer against a server on its bad days; with a real one in tests/api."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from gastown.api.bead import Bead
from gastown.api.kinds import BEAD
from gastown.kube.aio import Client
from gastown.kube.configuration import Configuration
from gastown.kube.errors import TooManyRequests
from gastown.kube.retry import RetryPolicy
from gastown.runtime import feed as feeds
from gastown.runtime.informer import Informer
from gastown.runtime.store import Store
from support.scripted_server import Scripted, ScriptedServer, answer, event, failure, stream

QUICK = RetryPolicy(attempts=2, first_seconds=0.001, longest_seconds=0.01)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(feeds, "LONGEST_BACKOFF_SECONDS", 0.01)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as started:
        yield started


def bead(name: str, version: int) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "town", "resourceVersion": str(version)}, "spec": {"title": "t"}}


def listing(version: int, *items: dict[str, object]) -> Scripted:
    return answer(200, {"metadata": {"resourceVersion": str(version)}, "items": list(items)})


def held_after(
    server: ScriptedServer,
    requests: int,
    *,
    silence_seconds: float = 5.0,
    relist_seconds: float = 600.0,
    timeout_seconds: float = 10.0,
) -> dict[str, str]:
    """Run an informer until the server has had so many requests; names and versions in its store then."""

    async def inside() -> dict[str, str]:
        store: Store[Bead] = Store(BEAD)
        async with Client(Configuration(server=server.url), user_agent="test", policy=QUICK, deadline_seconds=5) as client:
            feed = Informer(
                client, BEAD, store, namespace="town", silence_seconds=silence_seconds, relist_seconds=relist_seconds, roll=lambda: 0.0
            )
            task = asyncio.create_task(feed.run())
            async with asyncio.timeout(timeout_seconds):
                while len(server.requests) < requests:
                    assert not task.done(), task.exception()
                    await asyncio.sleep(0.001)
            task.cancel()
        return {item.metadata.name: item.metadata.resourceVersion for item in store.all()}

    return asyncio.run(inside())


def version_asked_for(server: ScriptedServer, number: int) -> str:
    return server.requests[number].target.partition("resourceVersion=")[2].partition("&")[0]


def test_a_watch_goes_on_from_the_last_bookmark_after_a_disconnect(server: ScriptedServer) -> None:
    server.then(
        listing(5, bead("gp-1", 4)),
        stream(event("ADDED", bead("gp-2", 6)), event("BOOKMARK", {"metadata": {"resourceVersion": "9"}}), after="close"),
    )
    assert held_after(server, 3) == {"gp-1": "4", "gp-2": "6"}
    assert [version_asked_for(server, number) for number in (1, 2)] == ["5", "9"]


def test_half_a_line_before_a_disconnect_is_asked_for_again(server: ScriptedServer) -> None:
    server.then(listing(5), stream(event("ADDED", bead("gp-1", 6)), event("ADDED", bead("gp-2", 7))[:-20], after="close"))
    assert held_after(server, 3) == {"gp-1": "6"}
    assert version_asked_for(server, 2) == "6"


@pytest.mark.parametrize(
    "too_old",
    [failure(410, "Expired"), stream(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}))],
    ids=["as answer", "inside the stream"],
)
def test_a_watch_too_old_lists_again_and_drops_the_ghosts(server: ScriptedServer, too_old: Scripted) -> None:
    server.then(listing(5, bead("gp-1", 3), bead("gp-2", 4)), too_old, listing(90, bead("gp-2", 4), bead("gp-3", 80)))
    assert held_after(server, 4) == {"gp-2": "4", "gp-3": "80"}
    assert version_asked_for(server, 3) == "90"


def test_a_silent_stream_is_given_up_and_everything_is_listed_again(server: ScriptedServer) -> None:
    server.then(listing(5, bead("gp-1", 4)), stream(after="hang"), listing(6, bead("gp-2", 6)))
    assert held_after(server, 4, silence_seconds=0.3) == {"gp-2": "6"}
    assert version_asked_for(server, 3) == "6"


def test_errors_for_longer_than_all_retries_are_outlasted(server: ScriptedServer) -> None:
    server.then(
        *[failure(500, "InternalError")] * 9, listing(5), *[failure(500, "InternalError")] * 9, stream(event("ADDED", bead("gp-1", 6)))
    )
    assert held_after(server, 21) == {"gp-1": "6"}


def test_an_overloaded_server_is_outlasted(server: ScriptedServer) -> None:
    told = failure(429, "TooManyRequests", headers={"Retry-After": "0"})
    server.then(told, listing(5), told, told, stream(event("ADDED", bead("gp-1", 6))))
    assert held_after(server, 6) == {"gp-1": "6"}


def test_a_stream_that_ends_at_once_is_not_opened_in_a_tight_loop(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "FIRST_BACKOFF_SECONDS", 60.0)
    monkeypatch.setattr(feeds, "LONGEST_BACKOFF_SECONDS", 60.0)
    server.then(listing(5), stream(), stream(), stream())
    with pytest.raises(TimeoutError):
        held_after(server, 3, timeout_seconds=0.5)


def test_a_list_is_due_from_time_to_time_though_the_watch_works(server: ScriptedServer) -> None:
    server.then(listing(5, bead("gp-1", 4)), stream(event("ADDED", bead("gp-2", 6))), listing(8, bead("gp-2", 6)))
    assert held_after(server, 4, relist_seconds=0.0) == {"gp-2": "6"}


def test_an_object_that_cannot_be_read_counts_as_absent_until_it_can(server: ScriptedServer) -> None:
    odd = {**bead("gp-1", 6), "spec": {"priority": "high"}}
    server.then(listing(5, bead("gp-1", 4), bead("gp-2", 3)), stream(event("MODIFIED", odd), after="close"))
    assert held_after(server, 3) == {"gp-2": "3"}
    server.requests.clear()
    server.then(listing(6, odd), stream(event("MODIFIED", bead("gp-1", 8)), after="close"))
    assert held_after(server, 3) == {"gp-1": "8"}


def test_a_server_restored_from_a_backup_is_listed_again(server: ScriptedServer) -> None:
    server.then(
        listing(900, bead("gp-1", 890), bead("gp-2", 900)),
        stream(event("BOOKMARK", {"metadata": {"resourceVersion": "400"}}), after="hang"),
        listing(400, bead("gp-1", 390)),
    )
    assert held_after(server, 4) == {"gp-1": "390"}
    assert version_asked_for(server, 3) == "400"


@pytest.mark.parametrize(
    "odd",
    [
        stream(event("ADDED", {"metadata": {"name": "gp-9", "namespace": "town"}, "spec": {"title": "t"}})),
        stream(event("BOOKMARK", {"metadata": {}})),
        stream(b'{"type":"ADDED"}\n'),
        stream(event("ERROR", {})),
        stream(b"null\n"),
    ],
    ids=["object without a version", "bookmark without a version", "no object", "error without a code", "null"],
)
def test_an_odd_line_ends_the_watch_but_not_the_feed(server: ScriptedServer, odd: Scripted) -> None:
    server.then(listing(5, bead("gp-1", 4)), odd)
    assert held_after(server, 3) == {"gp-1": "4"}
    assert version_asked_for(server, 2) == "5"


def test_an_answer_that_is_no_list_is_asked_for_again(server: ScriptedServer) -> None:
    server.then(answer(200, {"items": [], "metadata": {}}), answer(200, {"kind": "Status"}), listing(5, bead("gp-1", 4)))
    assert held_after(server, 4) == {"gp-1": "4"}


def test_a_server_that_asks_for_time_gets_it_within_reason() -> None:
    def wait(seconds: float) -> float:
        return feeds.retry_wait(TooManyRequests("busy", "watch", "/beads", seconds), 1, 0.0)

    assert (wait(2.0), wait(3600.0)) == (2.0, feeds.LONGEST_WISH_SECONDS)
    assert wait(0.0) == feeds.FIRST_BACKOFF_SECONDS

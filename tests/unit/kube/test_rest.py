"""The blocking client against a server on its bad days; the good days are in tests/api."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gastown
from gastown.api.kinds import BEAD
from gastown.kube import rest
from gastown.kube.configuration import Configuration, TokenFile
from gastown.kube.errors import Gone, Invalid, NotFound, TooManyRequests, Unauthorized, Unavailable
from gastown.kube.retry import RetryPolicy
from support.scripted_server import Request, Scripted, ScriptedServer, answer, failure, stream

FIVE = RetryPolicy(attempts=5)
OK = answer(200, {"metadata": {"name": "gp-1"}})


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(server: ScriptedServer, waits: list[float]) -> rest.Client:
    return rest.Client(Configuration(server=server.url, token="t"), user_agent="test", deadline_seconds=10, policy=FIVE, sleep=waits.append)


def test_all_calls_use_one_connection(client: rest.Client, server: ScriptedServer) -> None:
    server.then(OK, OK, failure(404, "NotFound"), OK)
    client.get(BEAD, "town", "gp-1")
    client.get(BEAD, "town", "gp-1")
    with pytest.raises(NotFound):
        client.get(BEAD, "town", "gp-2")
    client.get(BEAD, "town", "gp-1")
    assert {request.connection for request in server.requests} == {1}
    assert server.requests[0].headers["authorization"] == "Bearer t"


def test_a_connection_closed_while_idle_is_opened_again_without_an_error(
    client: rest.Client, server: ScriptedServer, waits: list[float]
) -> None:
    server.then(Scripted(OK.raw, "close"), OK)
    client.get(BEAD, "town", "gp-1")
    server.wait_closed(1)
    client.create(BEAD, {"metadata": {"name": "gp-1", "namespace": "town"}})
    assert [request.connection for request in server.requests] == [1, 2]
    assert waits == []


def test_a_chunked_answer_is_put_together(client: rest.Client, server: ScriptedServer) -> None:
    server.then(stream(b'{"metadata": ', b'{"name": "gp-1"}}'), OK)
    assert client.get(BEAD, "town", "gp-1") == {"metadata": {"name": "gp-1"}}
    client.get(BEAD, "town", "gp-1")
    assert {request.connection for request in server.requests} == {1}


def test_an_answer_without_a_length_ends_with_the_connection(client: rest.Client, server: ScriptedServer) -> None:
    server.then(Scripted(b'HTTP/1.1 200 OK\r\n\r\n{"kind": "Bead"}', "close"), OK)
    assert client.get(BEAD, "town", "gp-1") == {"kind": "Bead"}
    client.get(BEAD, "town", "gp-1")


def test_an_interim_answer_is_skipped(client: rest.Client, server: ScriptedServer) -> None:
    server.then(Scripted(b"HTTP/1.1 100 Continue\r\n\r\n" + OK.raw))
    assert client.get(BEAD, "town", "gp-1") == {"metadata": {"name": "gp-1"}}


def test_an_overloaded_server_is_given_the_time_it_asks_for(client: rest.Client, server: ScriptedServer, waits: list[float]) -> None:
    server.then(failure(429, "TooManyRequests", headers={"Retry-After": "3"}), OK)
    client.create(BEAD, {"metadata": {"name": "gp-1", "namespace": "town"}})
    assert waits == [3.0]


def test_a_server_that_stays_overloaded_is_told_as_such(client: rest.Client, server: ScriptedServer) -> None:
    server.then(*[failure(429, "TooManyRequests")] * 5)
    with pytest.raises(TooManyRequests):
        client.get(BEAD, "town", "gp-1")
    assert len(server.requests) == 5


def test_a_read_outlasts_a_short_outage(client: rest.Client, server: ScriptedServer, waits: list[float]) -> None:
    server.then(failure(500, "InternalError"), Scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", "close"), OK)
    assert client.get(BEAD, "town", "gp-1") == {"metadata": {"name": "gp-1"}}
    assert len(waits) == 2


@pytest.mark.parametrize("bad", [failure(500, "InternalError"), Scripted(b"", "close")], ids=["error", "cut off"])
def test_a_create_that_may_have_happened_is_not_sent_again(client: rest.Client, server: ScriptedServer, bad: Scripted) -> None:
    server.then(bad, OK)
    with pytest.raises(Unavailable) as told:
        client.create(BEAD, {"metadata": {"name": "gp-1", "namespace": "town"}})
    assert told.value.may_have_happened
    assert len(server.requests) == 1


def test_a_claim_that_may_have_happened_is_not_sent_again(client: rest.Client, server: ScriptedServer) -> None:
    server.then(Scripted(b"", "close"), failure(422, "Invalid"))
    with pytest.raises(Unavailable):
        client.json_patch(BEAD, "town", "gp-1", [{"op": "test", "path": "/spec/assignee", "value": ""}])


def test_a_server_that_is_not_there_is_named(waits: list[float]) -> None:
    with ScriptedServer() as gone:
        url = gone.url
    client = rest.Client(Configuration(server=url), user_agent="test", policy=FIVE, sleep=waits.append)
    with pytest.raises(Unavailable, match=url.removeprefix("http://")) as told:
        client.create(BEAD, {"metadata": {"name": "gp-1", "namespace": "town"}})
    assert not told.value.may_have_happened
    assert len(waits) == 4


def test_a_silent_server_costs_no_more_than_the_deadline(server: ScriptedServer) -> None:
    client = rest.Client(Configuration(server=server.url), user_agent="test", deadline_seconds=0.2)
    with pytest.raises(Unavailable, match="no answer within the deadline"):
        client.get(BEAD, "town", "gp-1")


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000,
    ],
    ids=["another protocol", "negative length", "absurd length", "odd chunk", "no json", "no object", "endless header"],
)
def test_nonsense_from_the_server_becomes_our_error(server: ScriptedServer, raw: bytes) -> None:
    client = rest.Client(Configuration(server=server.url), user_agent="test", policy=FIVE, sleep=lambda _: None)
    server.then(*[Scripted(raw, "close")] * 5)
    with pytest.raises(Unavailable):
        client.get(BEAD, "town", "gp-1")


def test_a_token_that_rotated_between_reading_and_use_is_read_again_once(server: ScriptedServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")

    def rotate(_: Request) -> Scripted:
        token.write_text("newer")
        return failure(401, "Unauthorized")

    client = rest.Client(Configuration(server=server.url, token_file=TokenFile(str(token))), user_agent="test")
    server.then(rotate, OK)
    client.get(BEAD, "town", "gp-1")
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer old", "Bearer newer"]
    server.then(failure(401, "Unauthorized"), failure(401, "Unauthorized"))
    with pytest.raises(Unauthorized):
        client.get(BEAD, "town", "gp-1")


def test_a_damaged_token_file_cannot_smuggle_in_a_header(server: ScriptedServer) -> None:
    client = rest.Client(
        Configuration(server=server.url, token="a\r\nX-Remote-User: admin"), user_agent="test", policy=FIVE, sleep=lambda _: None
    )
    with pytest.raises(Unavailable, match="line break"):
        client.get(BEAD, "town", "gp-1")
    assert server.requests == []


def test_a_list_that_takes_longer_than_its_moment_is_kept_is_read_at_once(client: rest.Client, server: ScriptedServer) -> None:
    page = answer(200, {"metadata": {"continue": "more"}, "items": [{"n": 1}]})
    server.then(page, failure(410, "Expired"), answer(200, {"metadata": {}, "items": [{"n": 1}, {"n": 2}]}))
    assert client.list_all(BEAD, "town") == [{"n": 1}, {"n": 2}]
    assert [("limit" in request.target, "continue" in request.target) for request in server.requests] == [
        (True, False),
        (True, True),
        (False, False),
    ]


def test_a_refused_object_is_told_in_the_servers_words(client: rest.Client, server: ScriptedServer) -> None:
    server.then(failure(422, "Invalid", "spec.prefix: prefix is fixed"))
    with pytest.raises(Invalid, match="prefix is fixed"):
        client.apply(BEAD, {"metadata": {"name": "gp-1", "namespace": "town"}}, manager="gt")
    assert server.requests[0].headers["content-type"] == "application/apply-patch+yaml"
    assert server.requests[0].target.endswith("/gp-1?fieldManager=gt&force=true")


def test_gone_without_paging_is_the_callers(client: rest.Client, server: ScriptedServer) -> None:
    server.then(failure(410, "Expired"), failure(410, "Expired"))
    with pytest.raises(Gone):
        client.list_all(BEAD, "town")


def test_importing_the_client_loads_no_library_and_nothing_heavy() -> None:
    root = str(Path(gastown.__path__[0]).parent)
    code = f"import sys; sys.path.insert(0, {root!r}); import gastown.kube.rest; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    heavy = {"aiohttp", "msgspec", "asyncio", "http.client", "urllib.parse", "email", "kopf", "kubernetes", "yaml", "logging", "tempfile"}
    assert heavy.isdisjoint(loaded.stdout.split())

"""Servers that are away are asked again; servers that say no are not."""

from __future__ import annotations

import pytest

from gastown.kube.configuration import Configuration
from gastown.kube.errors import AlreadyExists, ApiError, Forbidden, Unavailable
from gastown.kube.rest import Client
from gastown.polecat.errors import Refused, Unreachable
from gastown.polecat.git import GitError
from gastown.polecat.patience import Surroundings, patiently

AWAY = Unavailable(0, "NoAnswer", "connection refused", "get", "/x", may_have_happened=False)


class Server:
    """Answers each call with the next of its answers."""

    def __init__(self, *answers: Exception | str) -> None:
        self.answers = list(answers)
        self.told: list[str] = []
        self.waits: list[float] = []

    def call(self) -> str:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def around(self, *, patience_seconds: float = 60.0, interrupted: bool = False) -> Surroundings:
        client = Client(Configuration(server="http://127.0.0.1:1"), user_agent="test")
        return Surroundings(client, self.told.append, lambda: interrupted, patience_seconds, self.waits.append)


def test_it_asks_until_there_is_an_answer_and_waits_longer_each_time() -> None:
    server = Server(AWAY, GitError("push", 128, "could not connect"), AWAY, "yes")
    assert patiently("bead gp-1", server.call, server.around()) == "yes"
    assert server.waits == [0.5, 1.0, 2.0]
    assert len(server.told) == 3


def test_it_gives_up_in_the_end_and_says_what_it_waited_for() -> None:
    server = Server(AWAY)
    with pytest.raises(Unreachable, match=r"bead gp-1: no success within 0 s: .*connection refused.*; try again"):
        patiently("bead gp-1", server.call, server.around(patience_seconds=0))


def test_a_stop_ends_the_wait() -> None:
    server = Server(AWAY)
    with pytest.raises(Unreachable, match="the session stops"):
        patiently("bead gp-1", server.call, server.around(interrupted=True))


def test_a_no_is_not_asked_again() -> None:
    server = Server(Forbidden(403, "Forbidden", "agents may not", "patch", "/x"))
    with pytest.raises(Refused, match="bead gp-1: agents may not; only what is on your own hook is yours to change"):
        patiently("bead gp-1", server.call, server.around())


def test_what_exists_already_is_the_callers_to_judge() -> None:
    error: ApiError = AlreadyExists(409, "AlreadyExists", "is there", "create", "/x")
    server = Server(error)
    with pytest.raises(AlreadyExists):
        patiently("merge request m", server.call, server.around())

"""The heartbeat goes on through any outage, and tells each outage once."""

from __future__ import annotations

from typing import Any

from gastown.kube.configuration import Configuration
from gastown.kube.rest import Client
from gastown.kube.retry import NO_RETRY
from gastown.polecat.heartbeat import Heartbeat
from gastown.polecat.session import Session
from support.eventually import eventually


def session(**changes: Any) -> Session:
    from pathlib import Path

    plain = {"namespace": "town", "rig": "greeter", "agent": "greeter-max", "bead": "gp-1", "repository_url": "", "workspace": Path("/w")}
    return Session(**{**plain, **changes})


def test_a_server_that_is_away_is_told_once_and_asked_again() -> None:
    told: list[str] = []
    asked: list[int] = []

    def connect() -> Client:
        asked.append(1)
        if len(asked) > 1:
            raise OSError("still away")
        return Client(Configuration(server="http://127.0.0.1:1"), user_agent="test", policy=NO_RETRY, deadline_seconds=1)

    beat = Heartbeat(session(), connect, told.append, interval_seconds=0.01)
    beat.start()
    eventually(lambda: told)
    beat.stop()
    assert len(told) == 1
    assert told[0].startswith("heartbeat: lease town/greeter-max is not renewed, still trying: ")

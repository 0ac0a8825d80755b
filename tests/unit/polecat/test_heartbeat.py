"""The heartbeat goes on through any outage, and tells each outage once."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from gastown.api.labels import CHECKPOINT, NUDGE, PROGRESS
from gastown.kube.configuration import Configuration
from gastown.kube.rest import Client
from gastown.kube.retry import NO_RETRY
from gastown.polecat.heartbeat import Heartbeat
from gastown.polecat.session import Session
from gastown.polecat.vitals import Vitals
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

    beat = Heartbeat(session(heartbeat_seconds=0.01), connect, told.append, Vitals(os.getpid(), "", told.append))
    beat.start()
    eventually(lambda: told)
    beat.stop()
    assert len(told) == 1
    assert told[0].startswith("heartbeat: lease town/greeter-max is not renewed, still trying: ")


def test_progress_changes_when_the_agent_prints_or_computes_and_only_then() -> None:
    vitals = Vitals(os.getpid(), "uid-1", lambda _: None)
    script = "print('ready', flush=True); input(); sum(range(10**7)); print('done', flush=True); input()"
    agent = subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1)
    assert agent.stdin is not None
    assert agent.stdout is not None
    try:
        assert agent.stdout.readline() == b"ready\n"
        eventually(lambda: vitals.annotations() == vitals.annotations(), describe="while it waits nothing changes")
        still = vitals.annotations()[PROGRESS]
        agent.stdin.write(b"\n")
        agent.stdin.flush()
        assert agent.stdout.readline() == b"done\n"
        computed = vitals.annotations()[PROGRESS]
        assert computed != still
        vitals.printed(5)
        assert vitals.annotations()[PROGRESS] != computed
    finally:
        agent.communicate(b"\n")


def test_a_nudge_is_heard_once_and_only_by_the_session_it_is_meant_for() -> None:
    heard: list[str] = []
    vitals = Vitals(os.getpid(), "uid-1", heard.append)
    for told in ("", "uid-2 NoProgress x: not yours", "uid-1 NoProgress x: still there?", "uid-1 NoProgress x: still there?"):
        vitals.take({NUDGE: told})
    assert heard == ["NoProgress x: still there?"]
    vitals.take({NUDGE: "uid-1 NoProgress y: still there?"})
    assert len(heard) == 2


def test_a_checkpoint_of_an_earlier_session_is_taken_from_the_lease() -> None:
    assert Vitals(os.getpid(), "uid-1", lambda _: None).annotations()[CHECKPOINT] is None

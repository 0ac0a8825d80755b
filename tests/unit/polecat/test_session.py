"""The environment of a session, and what is said when it is not right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gastown.api.rig import Gate
from gastown.polecat.errors import Refused
from gastown.polecat.session import from_environment, termination_log

COMPLETE = {
    "GASTOWN_NAMESPACE": "town",
    "GASTOWN_RIG": "greeter",
    "GASTOWN_AGENT": "greeter-max",
    "GASTOWN_BEAD": "gp-1",
    "GASTOWN_REPOSITORY_URL": "http://repo/town/greeter.git",
    "GASTOWN_SESSION": "3",
    "GASTOWN_AGENT_COMMAND": '["sh", "-c", "$(x)"]',
    "GASTOWN_GATES": json.dumps([{"name": "unit", "command": ["true"], "timeoutSeconds": 60}]),
    "GASTOWN_TIMEOUT_SECONDS": "120",
}


def test_paths_and_refs_follow_from_agent_and_bead() -> None:
    session = from_environment({**COMPLETE, "GASTOWN_WORKSPACE": "/w"})
    assert (session.worktree, session.repository, session.home) == (Path("/w/gp-1"), Path("/w/repository.git"), Path("/w/home"))
    assert (session.branch, session.checkpoint_ref) == ("polecat/greeter-max/gp-1", "refs/agents/greeter-max/wip/gp-1")
    assert (session.actor, session.email) == ("greeter/polecats/max", "greeter-max@town.gastown.invalid")
    assert (session.number, session.timeout_seconds, session.checkpoint_seconds) == (3, 120, 0)
    assert session.agent_command == ["sh", "-c", "$(x)"]
    assert session.gates == [Gate(name="unit", command=["true"], timeoutSeconds=60)]


def test_what_is_left_out_has_a_default() -> None:
    session = from_environment(COMPLETE)
    assert (session.workspace, session.target_branch, session.adapter) == (Path("/workspace"), "main", "shell")
    assert termination_log({}) == Path("/dev/termination-log")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        pytest.param("GASTOWN_AGENT", "", "is not set", id="missing"),
        pytest.param("GASTOWN_SESSION", "first", "is 'first', not a number", id="no number"),
        pytest.param("GASTOWN_AGENT_COMMAND", "sh -c x", "is not JSON", id="a command that is no JSON"),
        pytest.param("GASTOWN_AGENT_COMMAND", '"sh"', "is not a JSON list", id="a command that is no list"),
        pytest.param("GASTOWN_AGENT_COMMAND", "[1]", "is not a list of strings", id="a command of numbers"),
        pytest.param("GASTOWN_GATES", '["unit"]', "is not a list of gates", id="gates that are no objects"),
        pytest.param("GASTOWN_GATES", '[{"command": []}]', "is not a list of gates", id="a gate without a name"),
    ],
)
def test_a_variable_that_is_not_right_is_named(name: str, value: str, told: str) -> None:
    with pytest.raises(Refused, match=f"environment variable {name}: {told}"):
        from_environment({**COMPLETE, name: value})

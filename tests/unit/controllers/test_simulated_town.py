"""The whole loop over an API server in memory: a bead's way, sessions that fail, and work that comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gastown.api import kinds
from support.players import Json
from support.simulated_town import SimulatedTown


@pytest.fixture
def town() -> Iterator[SimulatedTown]:
    made = SimulatedTown()
    yield made
    made.close()


def make_bead(town: SimulatedTown, name: str = "gp-1", **spec: object) -> None:
    town.players.create(kinds.BEAD, name, {"title": f"Do {name}", **spec})


def test_a_bead_lands(town: SimulatedTown) -> None:
    town.found()
    make_bead(town)
    town.run_to_rest()
    assert town.status(kinds.BEAD, "gp-1")["phase"] == "Landed"
    assert town.problems == []


def test_looking_again_at_a_town_at_rest_writes_nothing(town: SimulatedTown) -> None:
    town.found()
    make_bead(town)
    make_bead(town, "gp-2", dependencies=[{"id": "gp-zz9", "type": "blocks"}])
    town.run_to_rest()
    assert town.look_at_everything() == []


def test_a_session_that_fails_is_tried_again_until_its_attempts_are_used_up(town: SimulatedTown) -> None:
    town.found()
    make_bead(town)

    def fail(pod: Json) -> Json:
        return {"outcome": "Failed", "reason": "AgentFailed", "message": "out of ideas"}

    town.run_to_rest(fail)
    bead, status = town.api.get(kinds.BEAD, "gp-1"), town.status(kinds.BEAD, "gp-1")
    assert (status["phase"], status["attempts"], bead["spec"].get("assignee", "")) == ("Failed", 3, "")
    assert status["usage"]["sessions"] == 3
    (agent,) = town.api.all(kinds.AGENT)
    assert agent["status"]["phase"] == "Idle"
    assert agent["status"]["session"]["number"] == 3
    town.api.patch(kinds.BEAD, "gp-1", {"metadata": {"annotations": {"gastown.dev/retry-requested-at": "now"}}})
    town.run_to_rest()
    assert town.status(kinds.BEAD, "gp-1")["phase"] == "Landed"

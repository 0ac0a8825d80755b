"""Clocks that are wrong, or are set, kill, fail and land nothing wrongly: the whole loop over an API server in memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gastown.api import kinds
from support.players import Json
from support.simulated_town import SimulatedTown

DAY = 86400.0
SKEWS = [0.0, 30.0, -30.0, 600.0, -600.0, DAY, -DAY]
BEADS = ["gp-1", "gp-2", "gp-3"]


def with_beads() -> SimulatedTown:
    town = SimulatedTown()
    town.found()
    for name in BEADS:
        town.players.create(kinds.BEAD, name, {"title": name})
    return town


def all_landed_at_the_first_attempt(town: SimulatedTown) -> None:
    statuses = [town.status(kinds.BEAD, name) for name in BEADS]
    assert [status["phase"] for status in statuses] == ["Landed"] * len(BEADS)
    assert [status.get("attempts", 0) for status in statuses] == [0] * len(BEADS)
    assert sorted(town.players.landed) == BEADS
    assert sum(status["usage"]["sessions"] for status in statuses) == len(BEADS), "a session was lost or started twice"
    assert len(town.api.all(kinds.MERGE_REQUEST)) == len(BEADS)
    assert town.problems == []


@pytest.mark.parametrize("server", [1.0, -1.0], ids=lambda skew: f"server {skew:+.0f} s")
@pytest.mark.parametrize("machines", SKEWS, ids=lambda skew: f"machines {skew:+.0f} s")
def test_beads_land_whatever_the_clocks_of_the_machines_say(machines: float, server: float) -> None:
    town = with_beads()
    town.machine_skew, town.server_skew = machines, server
    town.run_to_rest()
    all_landed_at_the_first_attempt(town)
    town.close()


@pytest.mark.parametrize("machines", SKEWS, ids=lambda skew: f"machines {skew:+.0f} s")
def test_a_session_whose_request_is_seen_late_has_submitted_all_the_same(machines: float) -> None:
    town = with_beads()
    town.machine_skew = machines
    town.settle()
    for pod in town.sessions():
        town.players.start_pod(pod)
    town.settle()
    for pod in town.sessions():
        town.players.end_session(pod["metadata"]["name"], town.players.submit(pod))
    town.api.deliver(kinds.POD)  # by another watch than the requests
    while pending := town.pending():
        town.look(*pending[0])
        town.api.deliver(kinds.BEAD)
        town.api.deliver(kinds.AGENT)
        town.api.deliver(kinds.POD)
    assert [town.status(kinds.BEAD, name).get("attempts", 0) for name in BEADS] == [0] * len(BEADS)
    town.run_to_rest()
    all_landed_at_the_first_attempt(town)
    town.close()


@settings(max_examples=6)
@given(data=st.data())
def test_beads_land_while_clocks_are_set(data: st.DataObject) -> None:
    town = with_beads()

    def somebody_sets_clocks(pod: Json) -> Json:
        town.machine_skew = data.draw(st.sampled_from(SKEWS), label="machines")
        town.server_skew = data.draw(st.sampled_from([0.0, 0.0, 1.0, -1.0]), label="server, as precisely as it is known")
        return town.players.submit(pod)

    town.run_to_rest(somebody_sets_clocks)
    all_landed_at_the_first_attempt(town)
    town.close()


@pytest.mark.parametrize("jump", [DAY, -DAY, 600.0, -600.0], ids=lambda jump: f"{jump:+.0f} s")
def test_an_api_server_whose_clock_is_set_while_sessions_run_ends_none_of_them(jump: float) -> None:
    town = with_beads()

    def run() -> list[Json]:
        for _ in range(6):
            town.settle()
            for pod in town.sessions():
                town.players.start_pod(pod)
            town.advance(1.0)
        return town.sessions()

    town.settle()
    before = {pod["metadata"]["uid"] for pod in town.sessions()}
    assert len(before) == 2
    town.now += jump  # which the operator's clock follows
    assert {pod["metadata"]["uid"] for pod in run()} == before
    assert not any(pod["metadata"].get("deletionTimestamp") for pod in town.sessions())
    assert {town.status(kinds.AGENT, pod["metadata"]["name"])["phase"] for pod in town.sessions()} == {"Working"}
    town.run_to_rest()
    all_landed_at_the_first_attempt(town)
    town.close()


def test_a_session_that_failed_before_the_clock_was_set_back_is_tried_again_soon() -> None:
    town = with_beads()
    failed: list[Any] = []

    def fail_once(pod: Json) -> Json:
        failed.append(pod)
        if len(failed) > 1:
            return town.players.submit(pod)
        return {"outcome": "Failed", "reason": "AgentFailed", "message": "out of ideas"}

    town.settle()
    town.play(fail_once)
    town.settle()
    town.play(fail_once)
    town.settle()
    town.now -= DAY
    for controller in town.controllers:
        controller.due.clear()  # those are kept by a monotonic clock; what is looked at is looked at again at a restart at the latest
    town.start_operator()
    town.run_to_rest(fail_once)
    assert [town.status(kinds.BEAD, name)["phase"] for name in BEADS] == ["Landed"] * len(BEADS)
    town.close()

"""Sessions that die, fall silent or never start, and events that nobody delivered: the whole loop, by a clock that is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gastown.api import kinds, labels
from support.players import Json
from support.simulated_town import SimulatedTown

# What "in seconds" means here.
SECONDS = 10.0


@pytest.fixture
def town() -> Iterator[SimulatedTown]:
    made = SimulatedTown()
    made.found()
    made.players.create(kinds.BEAD, "gp-1", {"title": "Do it"})
    yield made
    made.close()


def pass_until(town: SimulatedTown, is_so: Callable[[], bool], limit: float, stride: float = 1.0) -> float:
    """Let time pass with deaf and dumb sessions until something holds; returns how long it took."""
    begun = town.now
    town.settle()
    while not is_so():
        assert town.now - begun < limit, f"not within {limit} s; {town.status(kinds.BEAD, 'gp-1')}"
        town.advance(stride)
        town.settle()
    return town.now - begun


def session(town: SimulatedTown) -> Json | None:
    found = [pod for pod in town.sessions() if not pod["metadata"].get("deletionTimestamp")]
    return found[0] if found else None


def number(pod: Json | None) -> int:
    return int(pod["metadata"]["labels"][labels.SESSION]) if pod is not None else 0


def start(town: SimulatedTown) -> Json:
    """Let the session of gp-1 run."""
    pass_until(town, lambda: session(town) is not None, 400.0)
    pod = session(town)
    assert pod is not None
    assert town.players.start_pod(pod)
    town.settle()
    return pod


def lease(town: SimulatedTown) -> Json:
    (found,) = town.api.all(kinds.LEASE)
    return found


def condition(town: SimulatedTown, type_: str) -> str:
    """Reason of a condition of the agent; "" if it is absent."""
    (agent,) = town.api.all(kinds.AGENT)
    return next((told["reason"] for told in agent.get("status", {}).get("conditions", []) if told["type"] == type_), "")


def kubelet(town: SimulatedTown, *, exit_code: int = 137) -> None:
    """Whoever is being deleted ends without a word."""
    for pod in town.sessions():
        if pod["metadata"].get("deletionTimestamp"):
            town.players.end_pod(pod["metadata"]["name"], exit_code, "agent")
            town.settle()
            if town.api.find(kinds.POD, pod["metadata"]["name"]) is not None:
                town.api.remove((kinds.POD, "town", pod["metadata"]["name"]))
            town.settle()


def test_a_silent_session_is_suspected_nudged_replaced_and_the_next_one_starts_at_once(town: SimulatedTown) -> None:
    first = start(town)
    assert pass_until(town, lambda: condition(town, "Suspect") == "HeartbeatMissed", 100.0) >= 89
    assert lease(town)["metadata"]["annotations"][labels.NUDGE].startswith(first["metadata"]["uid"])
    assert pass_until(town, lambda: session(town) is None, 70.0) > 55
    kubelet(town)
    assert pass_until(town, lambda: session(town) is not None, SECONDS) < SECONDS
    assert number(session(town)) == 2
    status = town.status(kinds.BEAD, "gp-1")
    assert (status["attempts"], status["failedSessions"][0]["outcome"]) == (1, "Lost")
    assert "no answer to a nudge" in status["failedSessions"][0]["message"]
    assert condition(town, "Suspect") == ""
    assert town.problems == []


def test_a_session_that_answers_the_nudge_goes_on(town: SimulatedTown) -> None:
    pod = start(town)
    pass_until(town, lambda: condition(town, "Suspect") != "", 100.0)
    town.api.patch(kinds.LEASE, lease(town)["metadata"]["name"], {"spec": {"holderIdentity": pod["metadata"]["uid"], "renewTime": "x"}})
    town.settle()
    assert condition(town, "Suspect") == ""
    pass_until(town, lambda: condition(town, "Suspect") != "", 100.0)
    assert session(town) == town.api.find(kinds.POD, pod["metadata"]["name"])


def test_silent_sessions_use_up_the_attempts_and_the_bead_fails_with_all_of_them_as_evidence(town: SimulatedTown) -> None:
    for _ in range(3):
        start(town)
        pass_until(town, lambda: session(town) is None, 200.0)
        kubelet(town)
    pass_until(town, lambda: town.status(kinds.BEAD, "gp-1")["phase"] == "Failed", 10.0)
    status = town.status(kinds.BEAD, "gp-1")
    assert [failed["outcome"] for failed in status["failedSessions"]] == ["Lost"] * 3


def test_on_a_lost_node_the_bead_goes_to_another_agent_in_bounded_time_and_the_first_is_a_zombie(town: SimulatedTown) -> None:
    lost = start(town)["metadata"]["name"]
    # Nobody ends the pod: its node is gone. Three missed heartbeats, the answer, and the time after which a deletion is overdue.
    took = pass_until(town, lambda: any(pod["metadata"]["name"] != lost for pod in town.sessions()), 90 + 60 + 120 + SECONDS)
    assert took > 90 + 60 + 120
    assert town.api.find(kinds.POD, lost) is not None, "it is never deleted by force"
    told = {condition["type"]: condition["reason"] for condition in town.status(kinds.AGENT, lost)["conditions"]}
    assert told["Zombie"] == "NodeLost"
    town.api.remove((kinds.POD, "town", lost))
    town.settle()
    assert "Zombie" not in {condition["type"] for condition in town.status(kinds.AGENT, lost)["conditions"]}


def test_a_pod_that_no_node_takes_is_explained_and_given_up_in_bounded_time(town: SimulatedTown) -> None:
    pass_until(town, lambda: session(town) is not None, 10.0)

    def unscheduled() -> None:
        for pod in town.sessions():
            told = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": f"0/{town.now:g} nodes"}]
            town.api.patch(kinds.POD, pod["metadata"]["name"], {"status": {"phase": "Pending", "conditions": told}}, "status")

    def is_given_up() -> bool:
        unscheduled()
        town.settle()
        told.add(condition(town, "Suspect"))
        return bool(town.status(kinds.BEAD, "gp-1")["phase"] == "Failed")

    told: set[str] = set()
    took = pass_until(town, is_given_up, 3 * 600 + 120, stride=20.0)
    assert took >= 3 * 600
    assert "NotStarting" in told
    assert "Unschedulable" in town.status(kinds.BEAD, "gp-1")["failedSessions"][-1]["message"]


@pytest.mark.parametrize("exit_code", [pytest.param(137, id="killed"), pytest.param(None, id="its pod vanished")])
def test_a_dead_session_is_replaced_without_waiting_for_a_clock(town: SimulatedTown, exit_code: int | None) -> None:
    pod = start(town)
    if exit_code is None:
        town.api.remove((kinds.POD, "town", pod["metadata"]["name"]))
    else:
        town.players.end_pod(pod["metadata"]["name"], exit_code, "agent")
    town.settle()
    assert number(session(town)) == 2
    assert town.status(kinds.BEAD, "gp-1")["attempts"] == 1


def test_a_session_that_keeps_being_killed_is_held_back_longer_each_time(town: SimulatedTown) -> None:
    waits = []
    for _ in range(3):
        town.players.end_pod(start(town)["metadata"]["name"], 137, "agent")
        before = town.now
        pass_until(town, lambda: session(town) is not None or town.status(kinds.BEAD, "gp-1")["phase"] == "Failed", 60.0)
        waits.append(town.now - before)
    assert waits[0] == 0
    assert waits[1] >= 4
    assert town.status(kinds.BEAD, "gp-1")["phase"] == "Failed"


# GUPP: what is on the hook runs, whatever was lost on the way.


def test_a_bound_bead_gets_its_session_though_the_first_attempt_was_refused(town: SimulatedTown) -> None:
    town.settle()
    pod = session(town)
    assert pod is not None
    town.api.remove((kinds.POD, "town", pod["metadata"]["name"]))
    foreign = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod["metadata"]["name"]}, "spec": {"containers": []}}
    town.api.create(kinds.POD, foreign)
    town.settle()
    town.advance(1.0)
    town.settle()
    assert session(town) is None
    assert town.problems
    town.api.remove((kinds.POD, "town", pod["metadata"]["name"]))
    assert pass_until(town, lambda: session(town) is not None, SECONDS) < SECONDS


@pytest.mark.parametrize("kind", [kinds.BEAD, kinds.AGENT, kinds.POD, kinds.LEASE], ids=lambda kind: kind.name)
def test_a_bound_bead_gets_its_session_though_the_events_of_a_kind_are_lost_until_the_watch_is_back(
    town: SimulatedTown, kind: kinds.Kind
) -> None:
    for _ in range(60):
        town.api.undelivered[kind].clear()
        if pending := town.pending():
            town.look(*pending[0])
    town.api.relist(town.stores.by_kind())  # as every broken watch ends
    assert pass_until(town, lambda: session(town) is not None, SECONDS) < SECONDS


def test_a_pod_whose_deletion_nobody_told_is_found_missing_when_it_falls_silent(town: SimulatedTown) -> None:
    pod = start(town)
    town.api.remove((kinds.POD, "town", pod["metadata"]["name"]))
    town.api.undelivered[kinds.POD].clear()
    pass_until(town, lambda: number(session(town)) == 2, 200.0)

"""The operator against a real API server; the test plays kubelet, session and refinery by writing what they would write."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gastown.api import kinds, labels
from gastown.kube.errors import Conflict
from support.cluster import Cluster
from support.eventually import eventually
from support.operator_run import OperatorRun, running_operator
from support.played_town import PlayedTown
from support.players import Json

pytestmark = pytest.mark.cluster

DIAMOND = {
    "title": "Teach the greeter moods",
    "defaults": {"rigName": "greeter"},
    "templates": [
        {"name": "moods", "title": "Add moods"},
        {"name": "shout", "title": "Add shout", "dependsOn": ["moods"]},
        {"name": "whisper", "title": "Add whisper", "dependsOn": ["moods"]},
        {"name": "choir", "title": "Add choir", "dependsOn": ["shout", "whisper"]},
    ],
}
# Of one bead from Ready to Landed, by the operator alone: bind, pod made and deleted, agent twice, bead hooked, working, submitted,
# closed and landed, request verified, Job, GateRun.
WRITES_OF_A_BEAD = 13
# What comes once per agent, not per bead.
WRITES_OF_AN_AGENT = Counter({"POST agents": 1, "POST serviceaccounts": 1, "POST leases": 1})
ROLL_UPS = {"PATCH rigs/status", "PATCH towns/status", "PATCH agentprofiles/status", "PATCH convoys/status"}


@pytest.fixture
def played(api_server: Cluster, namespace: str) -> PlayedTown:
    return PlayedTown(api_server, namespace)


def operator(played: PlayedTown) -> Any:
    return running_operator(played.cluster.configuration(), played.namespace)


def reaches(played: PlayedTown, name: str, phase: str, seconds: float = 30.0) -> None:
    """Wait for the phase of a bead."""
    eventually(lambda: played.phase(name) == phase, seconds, f"{name} is {phase}")


def test_one_bead_goes_from_ready_to_landed_in_13_writes(played: PlayedTown) -> None:
    played.found()
    seen: list[str] = []

    def work(pod: Json) -> Json:
        seen.append(played.phase("gp-1"))
        return played.players.submit(pod)

    played.work = work
    with operator(played) as run, played.playing():
        played.bead("gp-1")
        reaches(played, "gp-1", "Landed")
        eventually(played.is_at_rest, 60)
    bead = played.get(kinds.BEAD, "gp-1")
    assert (bead["spec"]["state"], bead["spec"]["assignee"]) == ("closed", "")
    assert bead["spec"]["closeReason"] == f"landed {bead['status']['landedCommits'][0]}"
    times = [bead["status"]["times"][f"{phase}Time"] for phase in ("ready", "hooked", "working", "submitted", "landed", "closed")]
    assert times == sorted(times)
    assert seen[-1] in ("Hooked", "Working")
    counted = Counter({what: number for what, number in run.writes.items() if what not in ROLL_UPS}) - WRITES_OF_AN_AGENT
    counted["PATCH beads/status"] -= 1  # Ready itself
    print(f"\n{counted.total()} writes from Ready to Landed: {dict(sorted(counted.items()))}")
    assert counted.total() <= WRITES_OF_A_BEAD


def test_a_diamond_convoy_lands_in_order(played: PlayedTown) -> None:
    played.found()
    with operator(played) as run, played.playing():
        played.convoy("moods", DIAMOND)
        eventually(lambda: played.phase("moods", kinds.CONVOY) == "Landed", 40, "the convoy landed")
    convoy = played.get(kinds.CONVOY, "moods")
    local = {bead["metadata"]["name"]: bead["metadata"]["annotations"][labels.LOCAL_NAME] for bead in played.all(kinds.BEAD)}
    order = [local[name] for name in played.landed]
    assert (order[0], order[3]) == ("moods", "choir")
    assert convoy["status"]["progress"] == "4/4"
    assert convoy["status"]["waves"] == [{"done": 1, "total": 1}, {"done": 2, "total": 2}, {"done": 1, "total": 1}]
    assert len(played.all(kinds.AGENT)) <= 2
    print(f"\n{run.writes.total()} writes for four beads: {dict(sorted(run.writes.items()))}")


def test_an_operator_that_finds_nothing_to_do_writes_nothing(played: PlayedTown) -> None:
    played.found()
    played.bead("gp-1")
    played.bead("gp-2", dependencies=[{"id": "gp-zz9", "type": "blocks"}])
    with operator(played), played.playing():
        reaches(played, "gp-1", "Landed")
        eventually(played.is_at_rest, 60)
        # Counts of the town are written a few seconds late; what follows is about an operator that has nothing left to tell.
        eventually(lambda: played.get(kinds.TOWN, "town")["status"]["counts"].get("closedBeads") == 1, 60)
        eventually(lambda: played.get(kinds.RIG, "greeter")["status"].get("activePolecats", 0) == 0, 60)
    with operator(played) as second:
        eventually(lambda: all(controller.is_idle() for controller in second.live().controllers), 60, "everything was looked at")
    assert dict(second.writes) == {}


def test_an_operator_restarted_in_the_middle_goes_on(played: PlayedTown) -> None:
    played.found()
    played.work = lambda _: {}
    with played.playing():
        with operator(played):
            played.convoy("moods", DIAMOND)
            eventually(lambda: any(pod["status"].get("phase") == "Running" for pod in played.sessions()), 60, "a session runs")
        (before,) = played.sessions()
        with operator(played):
            played.work = played.players.submit
            eventually(lambda: played.phase("moods", kinds.CONVOY) == "Landed", 40, "the convoy landed")
    assert len(played.landed) == 4
    first = played.get(kinds.BEAD, before["metadata"]["labels"][labels.BEAD])
    assert first["status"]["sessionUid"] == before["metadata"]["uid"], "the running session was adopted, not replaced"


def test_an_unknown_dependency_blocks_and_is_named(played: PlayedTown) -> None:
    played.found()
    with operator(played), played.playing():
        played.bead("gp-1", dependencies=[{"id": "gp-zz9", "type": "blocks"}])
        reaches(played, "gp-1", "Blocked")
        status = played.get(kinds.BEAD, "gp-1")["status"]
        assert status["blockedBy"] == ["gp-zz9"]
        startable = played.condition("gp-1", "Startable")
        assert (startable["reason"], "gp-zz9" in startable["message"]) == ("UnknownDependency", True)
        played.bead("gp-zz9", delivery="None", state="closed")
        reaches(played, "gp-1", "Landed")


def test_an_emergency_stop_ends_sessions_and_a_thaw_resumes_the_same_bead(played: PlayedTown) -> None:
    played.found()
    played.work = lambda _: {}
    with operator(played), played.playing():
        played.bead("gp-1")
        reaches(played, "gp-1", "Working")
        played.patch(kinds.TOWN, "town", {"spec": {"emergencyStop": {"mode": "Active", "reason": "drill"}}})
        # Nobody plays the kubelet of a pod without a node: the server itself deletes it at once.
        eventually(lambda: not played.sessions(), 60, "the session was deleted")
        eventually(lambda: played.phase("town", kinds.TOWN) == "Stopped", 60)
        played.bead("gp-2")
        reaches(played, "gp-2", "Ready")
        holder = played.get(kinds.BEAD, "gp-1")["spec"]["assignee"]
        assert holder
        played.work = played.players.submit
        played.patch(kinds.TOWN, "town", {"spec": {"emergencyStop": {"mode": "Inactive"}}})
        reaches(played, "gp-1", "Landed")
        reaches(played, "gp-2", "Landed")
    assert played.get(kinds.BEAD, "gp-1")["status"]["agentName"] == holder
    assert played.get(kinds.BEAD, "gp-1")["status"].get("attempts", 0) == 0


def test_rejected_work_comes_back_to_the_same_agent_and_lands(played: PlayedTown) -> None:
    played.found()
    played.exit_code = lambda _: int(len(played.all(kinds.JOB)) == 1)  # the first gate is red, all later ones are green
    with operator(played), played.playing():
        played.bead("gp-1")
        reaches(played, "gp-1", "Landed", 40)
    status = played.get(kinds.BEAD, "gp-1")["status"]
    assert (status["reworks"], status["lastRework"]["reason"]) == (1, "Rejected")
    assert len(played.all(kinds.AGENT)) == 1


def test_a_session_that_fails_is_given_up_and_tried_again_when_asked(played: PlayedTown) -> None:
    played.found(limits={"attempts": 1})
    played.work = lambda _: {"outcome": "Failed", "reason": "AgentFailed", "message": "out of ideas"}
    with operator(played), played.playing():
        played.bead("gp-1")
        reaches(played, "gp-1", "Failed")
        assert played.condition("gp-1", "Stalled")["reason"] == "AttemptsExhausted"
        eventually(lambda: played.get(kinds.BEAD, "gp-1")["spec"]["assignee"] == "", 60)
        played.work = played.players.submit
        played.patch(kinds.BEAD, "gp-1", {"metadata": {"annotations": {labels.RETRY_REQUESTED_AT: "2025-06-15T12:00:00Z"}}})
        reaches(played, "gp-1", "Landed")


def test_a_session_whose_pod_vanishes_is_started_again(played: PlayedTown) -> None:
    played.found()
    played.work = lambda _: {}
    with operator(played), played.playing():
        played.bead("gp-1")
        reaches(played, "gp-1", "Working")
        (pod,) = played.sessions()
        played.client.delete(kinds.POD, played.namespace, pod["metadata"]["name"], grace_seconds=0)
        played.work = played.players.submit
        reaches(played, "gp-1", "Landed", 40)
    (agent,) = played.all(kinds.AGENT)
    assert agent["status"]["session"]["number"] == 2


def test_a_bead_that_delivers_no_commit_is_done_when_its_agent_closes_it(played: PlayedTown) -> None:
    played.found()

    def answer(pod: Json) -> Json:
        played.patch(kinds.BEAD, pod["metadata"]["labels"][labels.BEAD], {"spec": {"state": "closed", "closeReason": "answered"}})
        return {"outcome": "Closed", "reason": "Answered"}

    played.work = answer
    with operator(played), played.playing():
        played.convoy("cv", {"templates": [{"name": "a", "title": "Why?", "rigName": "greeter", "delivery": "None"}]})
        eventually(lambda: played.phase("cv", kinds.CONVOY) == "Landed", 60)
        eventually(played.is_at_rest, 60)
    (bead,) = played.all(kinds.BEAD)
    assert (bead["status"]["phase"], bead["status"].get("attempts", 0), bead["status"]["usage"]["sessions"]) == ("Closed", 0, 1)


def test_a_person_may_take_a_bead_and_nobody_else_gets_it(played: PlayedTown) -> None:
    played.found(max_polecats=0)
    with operator(played), played.playing():
        played.bead("gp-1")
        reaches(played, "gp-1", "Ready")
        version = played.get(kinds.BEAD, "gp-1")["metadata"]["resourceVersion"]
        played.patch(kinds.BEAD, "gp-1", {"metadata": {"resourceVersion": version}, "spec": {"assignee": "alice"}})
        reaches(played, "gp-1", "Hooked")
        with pytest.raises(Conflict):
            played.patch(kinds.BEAD, "gp-1", {"metadata": {"resourceVersion": version}, "spec": {"assignee": "bob"}})


def test_an_unsound_convoy_is_refused_and_a_corrected_one_lands(played: PlayedTown) -> None:
    played.found()
    with operator(played), played.playing():
        ring: list[Json] = [{"name": "a", "title": "A", "dependsOn": ["b"]}, {"name": "b", "title": "B", "dependsOn": ["a"]}]
        played.convoy("cv", {"defaults": {"rigName": "greeter"}, "templates": ring})
        eventually(lambda: played.condition("cv", "Stalled", kinds.CONVOY).get("reason") == "Cycle", 60)
        assert "a -> b -> a" in played.condition("cv", "Ready", kinds.CONVOY)["message"]
        assert played.all(kinds.BEAD) == []
        played.patch(
            kinds.CONVOY, "cv", {"spec": {"templates": [{"name": "a", "title": "A"}, {"name": "b", "title": "B", "dependsOn": ["a"]}]}}
        )
        eventually(lambda: played.phase("cv", kinds.CONVOY) == "Landed", 40)
        assert played.condition("cv", "Stalled", kinds.CONVOY) == {}


def test_the_operator_stops_within_the_grace_of_its_pod(played: PlayedTown) -> None:
    played.found()
    with operator(played) as run:
        eventually(lambda: run.live().manager.why_not_ready() == "", 60)
        assert run.live().manager.why_dead() == ""
    assert run.failure is None
    assert run.stop_seconds < 30


def test_a_part_that_dies_ends_the_operator(played: PlayedTown) -> None:
    played.found()

    async def dies() -> None:
        raise ZeroDivisionError

    run = OperatorRun(played.cluster.configuration(), played.namespace, prepare=lambda operator: setattr(operator.feeds[-1], "run", dies))
    run.start()
    eventually(run.is_dead.is_set, 60, "the operator ended")
    assert isinstance(run.failure, ExceptionGroup)
    assert "ZeroDivisionError" in repr(run.failure.exceptions)


def test_a_refused_write_is_told_on_the_object_it_was_for(played: PlayedTown) -> None:
    played.found()
    # Whoever has this name already is not ours, and the session can not be started until it is gone.
    foreign = {"containers": [{"name": "c", "image": "x"}]}
    played.create(kinds.POD, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greeter-furiosa"}, "spec": foreign})
    with operator(played), played.playing():
        played.bead("gp-1")
        (event, *_) = eventually(lambda: [told for told in played.all(kinds.EVENT) if told["reason"] == "WriteRefused"], 60)
        assert event["involvedObject"]["name"] == "greeter-furiosa"
        assert "already exists and belongs to nobody" in event["message"]
        played.client.delete(kinds.POD, played.namespace, "greeter-furiosa")
        reaches(played, "gp-1", "Landed")

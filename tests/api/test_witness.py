"""Silent, answering and never starting sessions, by real Leases and pods; the patience is short, and no session here is in a hurry."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gastown.api import kinds, labels
from gastown.decide.witness import Patience
from support.cluster import Cluster
from support.eventually import eventually
from support.operator_run import SETTINGS, running_operator
from support.played_town import PlayedTown
from support.players import Json

pytestmark = pytest.mark.cluster
SECONDS = 120.0


@pytest.fixture
def played(api_server: Cluster, namespace: str) -> PlayedTown:
    return PlayedTown(api_server, namespace)


def operator(played: PlayedTown, **patience: float) -> Any:
    settings = dataclasses.replace(SETTINGS, patience=Patience(**patience))
    return running_operator(played.cluster.configuration(), played.namespace, settings)


def told(played: PlayedTown) -> set[str]:
    """Reasons of the Events about agents."""
    return {event["reason"] for event in played.all(kinds.EVENT) if event["involvedObject"]["kind"] == "Agent"}


def suspect(played: PlayedTown) -> str:
    """Reason for which the agent is suspected; "" if it is not."""
    (agent,) = played.all(kinds.AGENT)
    return str(played.condition(agent["metadata"]["name"], "Suspect", kinds.AGENT).get("reason", ""))


def nudge(played: PlayedTown) -> str:
    (lease,) = played.all(kinds.LEASE)
    return str(lease["metadata"].get("annotations", {}).get(labels.NUDGE, ""))


def is_first(pod: Json) -> bool:
    return bool(pod["metadata"]["labels"][labels.SESSION] == "1")


def test_a_session_whose_lease_is_not_renewed_is_nudged_then_replaced_and_its_bead_lands(played: PlayedTown) -> None:
    played.found(limits={"attempts": 10})  # on a slow machine a later session may be taken for a silent one, too
    played.work = lambda pod: {} if is_first(pod) else played.players.submit(pod)
    with operator(played, silent=2.0, answer=1.0), played.playing():
        played.bead("gp-1")
        eventually(lambda: played.phase("gp-1") == "Landed", SECONDS, "the bead landed")
        eventually(lambda: {"HeartbeatMissed", "Replaced"} <= told(played), SECONDS, "both were told")
        eventually(lambda: suspect(played) == "", SECONDS, "nobody is suspected any more")
    assert " HeartbeatMissed " in nudge(played)
    bead = played.get(kinds.BEAD, "gp-1")
    assert bead["status"].get("attempts", 0) == 0
    assert bead["status"].get("failedSessions", []) == []
    (agent,) = played.all(kinds.AGENT)
    assert agent["status"]["session"]["number"] >= 2


def test_a_session_that_answers_its_nudge_goes_on(played: PlayedTown) -> None:
    played.found()
    answered: list[str] = []

    def work(pod: Json) -> Json:
        if not nudge(played):
            return {}
        if not answered:
            spec = {"holderIdentity": pod["metadata"]["uid"], "renewTime": "2020-02-02T02:02:02.000000Z"}  # whatever its clock says
            played.patch(kinds.LEASE, pod["metadata"]["name"], {"spec": spec})
            answered.append(pod["metadata"]["uid"])
        return {} if suspect(played) else played.players.submit(pod)

    played.work = work
    with operator(played, silent=2.0, answer=SECONDS), played.playing():
        played.bead("gp-1")
        eventually(lambda: played.phase("gp-1") == "Landed", SECONDS, "the bead landed")
    assert played.get(kinds.BEAD, "gp-1")["status"]["sessionUid"] == answered[0]


def test_a_pod_that_no_node_takes_is_given_up_with_what_the_scheduler_said(played: PlayedTown) -> None:
    played.found(limits={"attempts": 1})
    with operator(played, start=2.0):
        played.bead("gp-1")
        (pod,) = eventually(played.sessions, SECONDS, "the pod is there")
        problem = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Too many pods.",
        }
        played.patch(kinds.POD, pod["metadata"]["name"], {"status": {"conditions": [problem]}}, "status")
        eventually(lambda: played.phase("gp-1") == "Failed", SECONDS, "it was given up")
        eventually(lambda: {"AttemptsExhausted"} <= {event["reason"] for event in played.all(kinds.EVENT)}, SECONDS, "that was told")
    (failed,) = played.get(kinds.BEAD, "gp-1")["status"]["failedSessions"]
    assert (failed["outcome"], "0/3 nodes are available" in failed["message"]) == ("Lost", True)
    assert "0/3 nodes are available" in played.condition("gp-1", "Stalled")["message"]


def test_a_deleted_lease_is_made_again_and_the_session_goes_on(played: PlayedTown) -> None:
    played.found()
    played.work = lambda _: {}
    with operator(played), played.playing():
        played.bead("gp-1")
        eventually(lambda: played.phase("gp-1") == "Working", SECONDS)
        (lease,) = played.all(kinds.LEASE)
        played.client.delete(kinds.LEASE, played.namespace, lease["metadata"]["name"])
        eventually(lambda: [new for new in played.all(kinds.LEASE) if new["metadata"]["uid"] != lease["metadata"]["uid"]], SECONDS)
        played.work = played.players.submit
        eventually(lambda: played.phase("gp-1") == "Landed", SECONDS)
    (agent,) = played.all(kinds.AGENT)
    assert agent["status"]["session"]["number"] == 1

"""The operator against a real API server; the test plays kubelet, session and refinery by patching statuses."""

from __future__ import annotations

import pytest

from gastown.api import kinds
from support.cluster import Cluster
from support.eventually import eventually
from support.operator_run import running_operator
from support.played_town import PlayedTown

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


@pytest.fixture
def played(api_server: Cluster, namespace: str) -> PlayedTown:
    return PlayedTown(api_server, namespace)


def test_one_bead_goes_from_ready_to_landed(api_server: Cluster, namespace: str, played: PlayedTown) -> None:
    played.found()
    with running_operator(api_server.configuration(), namespace) as run, played.playing():
        played.bead("gp-1")
        eventually(lambda: played.phase("gp-1") == "Landed", 30, "gp-1 landed")
        bead = played.get(kinds.BEAD, "gp-1")
        assert bead["spec"]["state"] == "closed"
    print(run.writes)


def test_a_diamond_convoy_lands_in_order(api_server: Cluster, namespace: str, played: PlayedTown) -> None:
    played.found()
    with running_operator(api_server.configuration(), namespace) as run, played.playing():
        played.convoy("moods", DIAMOND)
        eventually(lambda: played.phase("moods", kinds.CONVOY) == "Landed", 40, "the convoy landed")
        convoy = played.get(kinds.CONVOY, "moods")
        local = {bead["metadata"]["name"]: bead["metadata"]["annotations"]["gastown.dev/local-name"] for bead in played.all(kinds.BEAD)}
    order = [local[name] for name in played.landed]
    assert order[0] == "moods"
    assert order[3] == "choir"
    assert convoy["status"]["progress"] == "4/4"
    assert convoy["status"]["waves"] == [{"done": 1, "total": 1}, {"done": 2, "total": 2}, {"done": 1, "total": 1}]
    print(run.writes, run.writes.total())

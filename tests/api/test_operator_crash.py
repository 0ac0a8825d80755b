"""An operator that dies after any of its writes, twice, and the next one that goes on: the end is the same as without deaths."""

from __future__ import annotations

import pytest

from gastown.api import kinds
from support.cluster import Cluster
from support.eventually import eventually
from support.operator_run import OperatorRun, running_operator
from support.played_town import PlayedTown

pytestmark = pytest.mark.cluster

# Of one bead, from an empty town to landed; a life that needs fewer writes ends well and the case is the undisturbed one.
WRITES_OF_A_BEAD = 24


@pytest.mark.parametrize("write", range(1, WRITES_OF_A_BEAD + 1))
def test_a_bead_lands_once_though_the_operator_dies_twice(api_server: Cluster, namespace: str, write: int) -> None:
    played = PlayedTown(api_server, namespace)
    played.found()
    played.bead("gp-1")
    where = api_server.configuration()
    with played.playing():
        for _ in range(2):
            live_until_landed_or_dead(OperatorRun(where, namespace, doom=write), played)
        with running_operator(where, namespace):
            eventually(lambda: played.phase("gp-1") == "Landed", 30, "gp-1 landed")
            eventually(played.is_at_rest, 15, "the agent is idle and its pod gone")
    bead, (agent,) = played.get(kinds.BEAD, "gp-1"), played.all(kinds.AGENT)
    assert played.landed == ["gp-1"]
    assert len(bead["status"]["landedCommits"]) == 1
    assert (bead["status"].get("attempts", 0), bead["status"].get("reworks", 0)) == (0, 0)
    assert bead["status"]["usage"]["sessions"] == 1
    assert agent["status"]["usage"]["sessions"] == 1
    assert agent["status"]["session"]["number"] == 1
    assert len(played.all(kinds.MERGE_REQUEST)) == 1
    assert len(played.all(kinds.JOB)) == 1
    assert len(played.all(kinds.SERVICE_ACCOUNT)) == 2  # default and the agent's


def live_until_landed_or_dead(run: OperatorRun, played: PlayedTown) -> None:
    """One life of an operator."""
    run.start()
    try:
        eventually(lambda: run.is_dead.is_set() or (played.phase("gp-1") == "Landed" and played.is_at_rest()), 30, "landed or dead")
    finally:
        run.stop()
    assert run.failure is None
    assert run.doom == run.writes.total() or played.phase("gp-1") == "Landed"

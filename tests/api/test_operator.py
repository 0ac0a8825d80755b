"""The operator against a real API server; the test plays kubelet, session and refinery by patching statuses."""

from __future__ import annotations

import pytest

from gastown.api import kinds
from support.cluster import Cluster
from support.eventually import eventually
from support.operator_run import running_operator
from support.played_town import PlayedTown

pytestmark = pytest.mark.cluster


@pytest.fixture
def played(api_server: Cluster, namespace: str) -> PlayedTown:
    return PlayedTown(api_server, namespace)


def test_one_bead_goes_from_ready_to_landed(api_server: Cluster, namespace: str, played: PlayedTown) -> None:
    played.found()
    with running_operator(api_server.control_plane.configuration(), namespace) as run, played.playing():
        played.bead("gp-1")
        eventually(lambda: played.phase("gp-1") == "Landed", 30, "gp-1 landed")
        bead = played.get(kinds.BEAD, "gp-1")
        assert bead["spec"]["state"] == "closed"
    print(run.writes)

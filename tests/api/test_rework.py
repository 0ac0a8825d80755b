"""Rework on a real API server: bounded by the profile, and no evidence so big or so odd that the server refuses it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gastown.api import kinds, labels
from gastown.api.bead import Bead, BeadStatus
from gastown.api.codec import from_dict, to_dict
from gastown.api.merge_request import GateResult, MergeRequest, MergeRequestStatus
from gastown.decide.rework import EARLIER_LIMIT, evidence_of, with_rework
from gastown.processes.refinery import statuses, verdicts
from gastown_git import conflict_hunks
from gastown_git.conflict_hunks import Hunk
from gastown_git.refinery import planner
from gastown_git.refinery.verdicts import Attempt, Evidence, Verdict
from gastown_git.refinery.verdicts import GateResult as Gate
from support.cluster import Cluster
from support.eventually import eventually
from support.operator_run import running_operator
from support.played_town import PlayedTown, now_text

pytestmark = pytest.mark.cluster

NOON = 1_750_000_000.0
ODD = b"\xff\x00\x1b[31m\n\"'\\\xe2\x80\xae".decode("utf-8", "surrogateescape")


@pytest.fixture
def played(api_server: Cluster, namespace: str) -> PlayedTown:
    return PlayedTown(api_server, namespace)


def test_work_that_keeps_coming_back_is_given_up_with_its_evidence_and_tried_again_when_asked(played: PlayedTown) -> None:
    played.found(limits={"reworks": 1})
    played.exit_code = lambda _: 1
    with running_operator(played.cluster.configuration(), played.namespace), played.playing():
        played.bead("gp-1")
        eventually(lambda: played.phase("gp-1") == "Failed", 60, "gp-1 is given up")
        status = played.get(kinds.BEAD, "gp-1")["status"]
        assert (status["reworks"], status["lastRework"]["reason"]) == (2, "Rejected")
        assert [rework["reason"] for rework in status["earlierReworks"]] == ["Rejected"]
        assert status["earlierReworks"][0]["mergeRequestName"] != status["lastRework"]["mergeRequestName"]
        stalled = played.condition("gp-1", "Stalled")
        assert stalled["reason"] == "ReworksExhausted"
        assert labels.RETRY_REQUESTED_AT in stalled["message"]
        played.exit_code = lambda _: 0
        played.patch(kinds.BEAD, "gp-1", {"metadata": {"annotations": {labels.RETRY_REQUESTED_AT: now_text()}}})
        eventually(lambda: played.phase("gp-1") == "Landed", 60, "gp-1 landed after all")
    assert played.get(kinds.BEAD, "gp-1")["status"]["lastRework"] == status["lastRework"]


def created(played: PlayedTown) -> MergeRequest:
    spec = {"rigName": "greeter", "beadName": "gp-1", "agentName": "greeter-nux", "head": "b" * 40, "branch": "polecat/greeter-nux/gp-1"}
    body = {"apiVersion": "gastown.dev/v1alpha1", "kind": "MergeRequest", "metadata": {"name": "gp-1-b"}, "spec": spec}
    return from_dict(MergeRequest, played.create(kinds.MERGE_REQUEST, body))


def keep(played: PlayedTown, request: MergeRequest, status: MergeRequestStatus) -> MergeRequest:
    """Write the status as the refinery does, then check that it would not be written again."""
    told = statuses.apply_merge_request(request, status, "turned away")
    assert told is not None
    played.client.apply(kinds.MERGE_REQUEST, told.object, manager=statuses.MANAGER, subresource="status")
    kept = from_dict(MergeRequest, played.get(kinds.MERGE_REQUEST, "gp-1-b"))
    assert statuses.apply_merge_request(kept, status, "again") is None
    return kept


def record(played: PlayedTown, request: MergeRequest) -> None:
    """Write the bead's status as the operator does, after so many returns that none more fits; check that all of it is kept."""
    played.bead("gp-1")
    status = BeadStatus()
    for number in range(EARLIER_LIMIT + 2):
        rework = evidence_of(request, request.status.phase, NOON)
        status = with_rework(status, replace(rework, mergeRequestName=f"gp-1-{number}"))
    played.client.merge_patch(kinds.BEAD, played.namespace, "gp-1", {"status": to_dict(status)}, subresource="status")
    bead = from_dict(Bead, played.get(kinds.BEAD, "gp-1"))
    assert (bead.status.lastRework, bead.status.earlierReworks) == (status.lastRework, status.earlierReworks)
    assert len(bead.status.earlierReworks) == EARLIER_LIMIT


def test_the_biggest_and_oddest_conflict_is_taken_and_kept_as_it_is(played: PlayedTown) -> None:
    request = created(played)
    long = ODD + "/long" * 1000
    hunk = Hunk(long, 2**31 - 1, conflict_hunks.shown(ODD) + "\n" + "é" * 1900)
    conflict = planner.Conflict("gp-1-b", (ODD, *[f"{long}{n}" for n in range(300)]), ODD * 1000, (hunk,) * conflict_hunks.MAX_HUNKS)
    decision = planner.ReturnConflict("gp-1-b", "a" * 40, conflict)
    kept = keep(played, request, verdicts.turned_away(decision, request, "c" * 40, {}, now_text()))
    assert kept.status.conflict is not None
    assert (len(kept.status.conflict.files), len(kept.status.conflict.hunks)) == (200, conflict_hunks.MAX_HUNKS)
    record(played, kept)


def test_the_longest_log_of_the_most_gates_is_taken_and_kept_as_it_is(played: PlayedTown) -> None:
    request = created(played)
    gates = tuple(Gate(f"gate-{number}", Verdict.FAILED, -1, 1.0, "\x1b[31mé\n\0" * 4000) for number in range(16))
    attempts = tuple(Attempt(number, Verdict.FAILED, "d" * 40, "a" * 40, ("gp-1-b",), gates) for number in (1, 2))
    evidence = {"e" * 40: Evidence("f" * 64, "e" * 40, attempts)}
    decision = planner.Reject("gp-1-b", "a" * 40, "e" * 40)
    kept = keep(played, request, verdicts.turned_away(decision, request, "c" * 40, evidence, now_text()))
    assert [type(gate) for gate in kept.status.gateResults] == [GateResult] * 16
    assert (kept.status.strikes, kept.status.evidence is not None) == (2, True)
    record(played, kept)

"""What does a bead keep of work that came back, and when is it given up?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gastown.actions import Emit, SetStatus
from gastown.api import conditions, labels
from gastown.api.agent_profile import SessionLimits
from gastown.api.bead import Bead, BeadStatus, EarlierRework, Rework
from gastown.api.merge_request import ConflictHunk, Evidence, GateResult, MergeConflict, MergeRequest
from gastown.decide import bead as decider
from gastown.decide.bead import BeadSeen
from gastown.decide.readiness import Readiness
from gastown.decide.rework import EARLIER_LIMIT, FILES_LIMIT, evidence_of
from support import build
from support.build import COMMIT, HEAD, NOON, NOON_TEXT

HUNK = ConflictHunk(file="a.py", line=3, text="<<<<<<< main\nx\n=======\ny\n>>>>>>> 1")
LIMITS = SessionLimits(attempts=3, reworks=2)


def returned(head: str = HEAD, phase: str = "Conflicted", created: str = NOON_TEXT, **status: Any) -> MergeRequest:
    """A request that came back, with the refinery's word on it."""
    told = build.condition("Landed", "False", phase, message=f"{head[:7]} came back; merge main, then hand in")
    return build.merge_request(head=head, phase=phase, meta={"creationTimestamp": created}, status={"conditions": [told], **status})


def looked_at(bead: Bead, *requests: MergeRequest) -> tuple[BeadStatus, list[Emit]]:
    actions = decider.decide(BeadSeen(Readiness(bead, rig=build.rig()), merge_requests=requests, limits=LIMITS), NOON)
    (status,) = [action.status for action in actions if isinstance(action, SetStatus)]
    return status, [action for action in actions if isinstance(action, Emit)]


def test_evidence_of_a_conflict_is_both_tips_the_files_the_hunks_and_what_to_do() -> None:
    files = [f"src/{number}.py" for number in range(FILES_LIMIT + 1)]
    what = returned(conflict=MergeConflict(base=COMMIT, files=files, hunks=[HUNK], message="CONFLICT (content)"))
    assert evidence_of(what, "Conflicted", NOON) == Rework(
        reason="Conflicted",
        mergeRequestName=what.metadata.name,
        base=COMMIT,
        head=HEAD,
        files=files[:FILES_LIMIT],
        hunks=[HUNK],
        message=f"{HEAD[:7]} came back; merge main, then hand in",
        time=NOON_TEXT,
    )


def test_evidence_of_a_rejection_is_the_red_gate_its_log_and_what_it_was_run_on() -> None:
    results = [
        GateResult(name="lint", verdict="Passed", logTail="ok"),
        GateResult(name="unit", verdict="Failed", exitCode=3, logTail="1 failed"),
        GateResult(name="slow", verdict="Failed", exitCode=1),
    ]
    run = Evidence(tree="1" * 40, gateDigest="2" * 64, gateRunName="greeter-1", base=COMMIT, candidate="3" * 40)
    what = returned(phase="Rejected", gateResults=results, evidence=run)
    assert evidence_of(what, "Rejected", NOON) == Rework(
        reason="Rejected",
        mergeRequestName=what.metadata.name,
        base=COMMIT,
        head=HEAD,
        candidate="3" * 40,
        tree="1" * 40,
        gate="unit",
        exitCode=3,
        logTail="1 failed",
        message=f"{HEAD[:7]} came back; merge main, then hand in",
        time=NOON_TEXT,
    )


@pytest.mark.parametrize(("type_", "reason"), [("HeadPinned", "HeadNotFound"), ("HeadPinned", "UnusableTree"), ("Verified", "EmptyChange")])
def test_evidence_of_what_never_came_into_the_queue_says_what_to_do_about_it(type_: str, reason: str) -> None:
    told = build.condition(type_, "False", reason, message="push something else")
    assert evidence_of(build.merge_request(status={"conditions": [told]}), reason, NOON).message == "push something else"


def test_a_second_return_keeps_the_first_in_short_and_the_newest_whole() -> None:
    first, second = returned("1" * 40), returned("2" * 40, "Rejected", gateResults=[GateResult(name="unit", verdict="Failed")])
    after_one, _ = looked_at(build.bead(), first)
    after_two, _ = looked_at(replace(build.bead(), status=after_one), first, second)
    assert (after_two.reworks, after_two.head) == (2, "2" * 40)
    assert after_two.lastRework is not None
    assert (after_two.lastRework.reason, after_two.lastRework.mergeRequestName) == ("Rejected", second.metadata.name)
    assert after_two.earlierReworks == [
        EarlierRework(reason="Conflicted", mergeRequestName=first.metadata.name, head="1" * 40, time=NOON_TEXT)
    ]


def test_of_two_returns_in_one_second_each_is_counted_whatever_their_names_are() -> None:
    requests = [returned(digit * 40) for digit in "123"]
    for order in (requests, requests[::-1]):
        bead = build.bead()
        for count in range(1, 4):
            status, _ = looked_at(bead, *order[:count])
            assert status.reworks == count
            bead = replace(bead, status=status)
        assert looked_at(bead, *order)[0] == bead.status


def test_what_was_tried_is_kept_for_the_newest_returns_only() -> None:
    earlier = [EarlierRework(reason="Rejected", mergeRequestName=f"gp-1-{number}") for number in range(EARLIER_LIMIT)]
    bead = build.bead(status={"lastRework": Rework(mergeRequestName="gp-1-last"), "earlierReworks": earlier})
    status, _ = looked_at(bead, returned())
    assert [rework.mergeRequestName for rework in status.earlierReworks] == [*[f"gp-1-{n}" for n in range(1, EARLIER_LIMIT)], "gp-1-last"]


def test_a_return_is_told_by_an_event_and_a_condition_that_say_what_to_do() -> None:
    status, events = looked_at(build.bead(phase="Submitted"), returned())
    told = f"gp-1-{HEAD[:12]} came back, rework 1: {HEAD[:7]} came back; merge main, then hand in"
    assert [(event.reason, event.message) for event in events] == [("Conflicted", told)]
    submitted = conditions.find_condition(status.conditions, "Submitted")
    assert submitted is not None
    assert submitted.message == f"gp-1-{HEAD[:12]} came back: {HEAD[:7]} came back; merge main, then hand in"


def test_a_bead_whose_reworks_are_used_up_fails_and_keeps_all_evidence_until_a_person_asks_for_more() -> None:
    bead = build.bead(phase="Submitted")
    requests: list[MergeRequest] = []
    for number in (1, 2, 3):
        requests.append(returned(str(number) * 40, created=f"2025-06-15T1{number}:00:00Z"))
        status, events = looked_at(bead, *requests)
        bead = replace(bead, status=status)
    assert (status.phase, status.reworks, status.head) == ("Failed", 3, "3" * 40)
    assert status.lastRework is not None
    assert [*(rework.head[0] for rework in status.earlierReworks), status.lastRework.head[0]] == ["1", "2", "3"]
    stalled = conditions.find_condition(status.conditions, "Stalled")
    assert stalled is not None
    assert stalled.reason == "ReworksExhausted"
    assert "3 reworks; gp-1-333333333333 came back last (Conflicted), see status.lastRework" in stalled.message
    assert labels.RETRY_REQUESTED_AT in stalled.message
    assert [event.reason for event in events] == ["ReworksExhausted"]
    asked = replace(bead, metadata=replace(bead.metadata, annotations={labels.RETRY_REQUESTED_AT: NOON_TEXT}))
    again, _ = looked_at(asked, *requests)
    assert (again.phase, again.reworks, again.lastRework, again.earlierReworks) == ("Ready", 0, status.lastRework, status.earlierReworks)
    assert looked_at(replace(asked, status=again), *requests)[0] == again


def test_a_bead_that_landed_and_is_opened_again_is_no_rework_and_counts_no_old_return_anew() -> None:
    request = returned()
    came_back, _ = looked_at(build.bead(), request)
    opened = replace(build.bead(), status=replace(came_back, phase="Landed", landedCommits=[COMMIT]))
    status, _ = looked_at(opened, request)
    assert (status.phase, status.reworks, status.lastRework) == ("Ready", 0, None)
    assert [rework.mergeRequestName for rework in status.earlierReworks] == [request.metadata.name]
    submitted = conditions.find_condition(status.conditions, "Submitted")
    assert submitted is not None
    assert submitted.reason == "NotSubmitted"

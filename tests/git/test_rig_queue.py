"""The refinery's queue with a real repository: from a submitted head to a capsule on main, on good days and bad ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gastown.api import conditions, reasons
from gastown.api.gate_run import GateRun
from gastown.api.labels import RETRY_REQUESTED_AT
from gastown.api.rig import Gate
from gastown.decide.times import time_text
from gastown_git.repository import Repository
from support import git_builder
from support.queue_town import QueueTown


@pytest.fixture
def town(rig: Repository) -> QueueTown:
    return QueueTown(rig)


def work(town: QueueTown, files: dict[str, bytes], parent: str = "") -> str:
    """A commit of an agent on main (or elsewhere)."""
    return git_builder.change(
        town.repository, parent or git_builder.main_of(town.repository), dict(files), message=f"Add {', '.join(files)}"
    )


def test_a_submitted_head_is_pinned_verified_gated_and_landed(town: QueueTown) -> None:
    head = work(town, {"a": b"1"})
    name = town.submit("gr-1", head)
    town.look()
    assert town.phase(name) == "Verifying"
    assert town.repository.refs.find(f"refs/mr/{name}") == head
    town.verify(name)
    town.look()
    (run,) = town.running()
    assert (town.phase(name), run.spec.members, run.spec.attempt) == ("Gating", [name], 1)
    town.finish(run, reasons.PASSED)
    town.look()
    main = town.repository.commit(git_builder.main_of(town.repository))
    status = town.requests[name].status
    assert (status.phase, status.landedCommit) == ("Landed", main.commit)
    assert (main.tree, town.repository.is_ancestor(head, main.commit)) == (run.spec.tree, True)
    assert conditions.is_true(status.conditions, conditions.LANDED)
    assert main.message.startswith("Land gr-1: Add a\n")


def test_nothing_is_gated_before_the_operator_verified_it(town: QueueTown) -> None:
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.look()
    town.verify(name, "False", reasons.WRONG_AGENT)
    town.look()
    assert (town.phase(name), town.gate_runs) == ("Verifying", {})


def test_a_head_that_is_not_on_its_branch_is_not_taken_in(town: QueueTown) -> None:
    town.submit("gr-1", work(town, {"a": b"1"}))
    other = town.submit("gr-2", work(town, {"b": b"1"}), push=False)
    town.look()
    pinned = conditions.find_condition(town.requests[other].status.conditions, conditions.HEAD_PINNED)
    assert pinned is not None
    assert (pinned.status, pinned.reason) == ("False", reasons.HEAD_NOT_FOUND)
    assert town.repository.refs.find(f"refs/mr/{other}") is None


def test_a_head_that_is_red_alone_twice_is_rejected_with_its_log_and_main_stays(town: QueueTown) -> None:
    before = git_builder.main_of(town.repository)
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.settle(lambda run: reasons.FAILED if run.spec.members else reasons.PASSED)
    status = town.requests[name].status
    assert status.phase == "Rejected"
    assert [result.verdict for result in status.gateResults] == ["Failed"]
    assert [(run.spec.members, run.spec.attempt) for run in town.gate_runs.values()] == [([name], 1), ([name], 2), ([], 1)]
    assert git_builder.main_of(town.repository) == before


def test_on_a_red_main_nobody_is_rejected_and_the_repair_lands_and_frees_the_others(town: QueueTown) -> None:
    start = git_builder.main_of(town.repository)
    victim = town.submit("gr-1", work(town, {"a": b"1"}, start))
    repair = town.submit("gr-2", work(town, {"repair": b"1"}, start), agent="greeter-nux")

    def verdict(run: GateRun) -> str:
        is_repaired = "repair" in git_builder.read_files(town.repository, run.spec.tree)
        return reasons.PASSED if is_repaired else reasons.FAILED

    town.settle(verdict)
    assert (town.phase(repair), town.phase(victim)) == ("Landed", "Landed")


def test_a_request_on_a_red_main_is_held_and_told_that_main_is_red_itself(town: QueueTown) -> None:
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.settle(lambda _: reasons.FAILED)
    landed = conditions.find_condition(town.requests[name].status.conditions, conditions.LANDED)
    assert landed is not None
    assert (town.phase(name), landed.reason) == ("Held", reasons.GATE_FAILED)
    assert "red, and so is main itself" in landed.message


def test_one_red_may_be_a_flaky_gate(town: QueueTown) -> None:
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.settle(lambda run: reasons.FAILED if run.spec.attempt == 1 else reasons.PASSED)
    assert town.phase(name) == "Landed"


def test_gates_that_can_not_speak_are_never_blamed_on_the_work_and_hold_it_after_three(town: QueueTown) -> None:
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.settle(lambda _: reasons.GATE_ERROR)
    assert (town.phase(name), len(town.gate_runs)) == ("Held", 3)
    mr = town.requests[name]
    annotated = replace(mr.metadata, annotations={RETRY_REQUESTED_AT: time_text(town.now + 1)})
    town.requests[name] = replace(mr, metadata=annotated)
    town.now += 2
    town.settle()
    assert town.phase(name) == "Landed"


def test_of_two_that_touch_the_same_lines_the_second_comes_back_with_base_and_files(town: QueueTown) -> None:
    start = git_builder.main_of(town.repository)
    first = town.submit("gr-1", work(town, {"a": b"1"}, start))
    second = town.submit("gr-2", work(town, {"a": b"2"}, start), agent="greeter-nux")
    town.settle()
    assert (town.phase(first), town.phase(second)) == ("Landed", "Conflicted")
    conflict = town.requests[second].status.conflict
    assert conflict is not None
    assert conflict.files == ["a"]


def test_a_more_urgent_request_goes_first(town: QueueTown) -> None:
    later = town.submit("gr-1", work(town, {"a": b"1"}))
    urgent = town.submit("gr-2", work(town, {"b": b"1"}), agent="greeter-nux", priority=0)
    town.look()
    town.verify(later)
    town.verify(urgent)
    town.look()
    assert [run.spec.members for run in town.running()] == [[urgent]]
    town.settle()
    assert (town.phase(later), town.phase(urgent)) == ("Landed", "Landed")


def test_a_newer_request_of_the_same_bead_supersedes_the_older(town: QueueTown) -> None:
    head = work(town, {"a": b"1"})
    old = town.submit("gr-1", head)
    new = town.submit("gr-1", work(town, {"a": b"2"}, head))
    town.settle()
    assert (town.phase(old), town.phase(new)) == ("Superseded", "Landed")


def test_rework_of_the_same_second_goes_before_what_came_back_whatever_their_names(town: QueueTown) -> None:
    start = git_builder.main_of(town.repository)
    landed = town.submit("gr-1", work(town, {"a": b"1"}, start))
    came_back = town.submit("gr-2", work(town, {"a": b"2"}, start), agent="greeter-nux")
    town.settle()
    assert (town.phase(landed), town.phase(came_back)) == ("Landed", "Conflicted")
    rework = git_builder.change(town.repository, git_builder.main_of(town.repository), {"a": b"4"})
    while rework > town.requests[came_back].spec.head:  # by its name it is to be the earlier one
        rework = git_builder.change(town.repository, rework, {"a": rework.encode()})
    name = town.submit("gr-2", rework, agent="greeter-nux")
    same = town.requests[came_back].metadata.creationTimestamp
    town.requests[name] = replace(town.requests[name], metadata=replace(town.requests[name].metadata, creationTimestamp=same))
    town.settle()
    assert town.phase(name) == "Landed"


def test_a_suspended_request_waits_and_goes_on_when_it_is_released(town: QueueTown) -> None:
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.requests[name] = replace(town.requests[name], spec=replace(town.requests[name].spec, suspend=True))
    town.settle()
    assert (town.phase(name), town.gate_runs) == ("Held", {})
    town.requests[name] = replace(town.requests[name], spec=replace(town.requests[name].spec, suspend=False))
    town.settle()
    assert town.phase(name) == "Landed"


def test_nothing_lands_during_an_emergency_stop_and_all_of_it_after(town: QueueTown) -> None:
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.look()
    town.verify(name)
    town.look()
    town.finish(town.running()[0], reasons.PASSED)
    town.is_stopped = True
    before = git_builder.main_of(town.repository)
    town.settle()
    assert git_builder.main_of(town.repository) == before
    town.is_stopped = False
    town.settle()
    assert town.phase(name) == "Landed"


def test_changed_gates_ask_for_new_evidence(town: QueueTown) -> None:
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.look()
    town.verify(name)
    town.look()
    stale = town.running()[0]
    stricter = Gate(name="unit-tests", command=["make", "test"])
    town.rig = replace(town.rig, spec=replace(town.rig.spec, gates=[stricter]))
    town.finish(stale, reasons.PASSED)
    town.look()
    assert town.phase(name) == "Gating"
    assert {run.spec.gateDigest for run in town.running()} != {stale.spec.gateDigest}
    town.settle()
    assert town.phase(name) == "Landed"


@pytest.mark.parametrize("restart_after", range(8))
def test_a_refinery_killed_after_any_look_comes_to_the_same_main(town: QueueTown, restart_after: int) -> None:
    start = git_builder.main_of(town.repository)
    first = town.submit("gr-1", work(town, {"a": b"1"}, start))
    second = town.submit("gr-2", work(town, {"b": b"1"}, start), agent="greeter-nux")
    for step in range(8):
        town.look()
        for name in (first, second):
            if conditions.is_true(town.requests[name].status.conditions, conditions.HEAD_PINNED):
                town.verify(name)
        for run in town.running():
            town.finish(run, reasons.PASSED)
        if step == restart_after:
            town.restarted()
    tree = git_builder.read_files(town.repository, town.repository.tree_of(git_builder.main_of(town.repository)))
    assert set(tree) == {"README", "a", "b"}
    assert (town.phase(first), town.phase(second)) == ("Landed", "Landed")


def test_a_landing_whose_news_were_lost_is_told_at_the_next_look(town: QueueTown) -> None:
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.look()
    town.verify(name)
    town.look()
    town.finish(town.running()[0], reasons.PASSED)
    before = town.requests[name]
    town.look()
    landed = town.requests[name].status.landedCommit
    town.requests[name] = before  # killed between git and the API
    # The evidence of then counts no more, so only git can tell.
    town.rig = replace(town.rig, spec=replace(town.rig.spec, gates=[Gate(name="unit-tests", command=["make", "test"])]))
    town.restarted()
    town.look()
    assert (town.phase(name), town.requests[name].status.landedCommit) == ("Landed", landed)


def test_a_gate_run_whose_start_was_not_told_is_told_by_the_next_refinery(town: QueueTown) -> None:
    name = town.submit("gr-1", work(town, {"a": b"1"}))
    town.look()
    town.verify(name)
    before = town.requests[name]
    town.look()
    (run,) = town.running()
    town.requests[name] = before  # killed between the GateRun and the request's status
    town.restarted()
    town.look()
    assert (town.phase(name), town.requests[name].status.candidate) == ("Gating", run.spec.candidate)
    town.requests[name] = before
    town.finish(run, reasons.PASSED)
    town.restarted()
    town.look()
    assert (town.phase(name), town.requests[name].status.candidate) == ("Landed", run.spec.candidate)


def test_finished_gate_runs_are_deleted_after_their_time_and_candidates_let_go(town: QueueTown) -> None:
    town.submit("gr-1", work(town, {"a": b"1"}))
    town.settle()
    assert town.repository.refs.find_all("refs/candidates/") == {}
    town.now += 4000
    town.look()
    assert town.gate_runs == {}

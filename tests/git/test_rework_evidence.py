"""What the refinery says of work it turns away: enough to see why, and to begin again on the new main."""

from __future__ import annotations

import json

import pytest

from gastown.api import conditions, reasons
from gastown.api.codec import to_dict
from gastown.api.merge_request import MergeRequestStatus
from gastown_git.repository import Repository
from support import git_builder
from support.queue_town import QueueTown

POEM = b"one\ntwo\nthree\n"


@pytest.fixture
def town(rig: Repository) -> QueueTown:
    return QueueTown(rig)


def submit(town: QueueTown, bead: str, files: dict[str, bytes | None], parent: str) -> str:
    head = git_builder.change(town.repository, parent, dict(files), message=bead)
    return town.submit(bead, head, agent=f"greeter-{bead[3:]}")


def told(status: MergeRequestStatus) -> str:
    landed = conditions.find_condition(status.conditions, conditions.LANDED)
    assert landed is not None
    return landed.message


def test_a_conflict_tells_both_tips_the_files_the_lines_and_what_to_do(town: QueueTown) -> None:
    start = git_builder.change(town.repository, git_builder.main_of(town.repository), {"poem": POEM})
    first = submit(town, "gr-1", {"poem": POEM.replace(b"two", b"2")}, start)
    second = submit(town, "gr-2", {"poem": POEM.replace(b"two", b"II")}, start)
    town.settle()
    main, request = git_builder.main_of(town.repository), town.requests[second]
    conflict = request.status.conflict
    assert (town.phase(first), town.phase(second)) == ("Landed", "Conflicted")
    assert conflict is not None
    # The tip that `git log --first-parent main` shows, not the commit that candidates are stacked on.
    assert (conflict.base, conflict.files) == (main, ["poem"])
    (hunk,) = conflict.hunks
    lines = hunk.text.split("\n")
    assert (hunk.file, hunk.line) == ("poem", 2)
    assert (lines[0], lines[1:3], lines[3][:8]) == ("one", ["<<<<<<< main", "2"], "||||||| ")
    assert lines[4:8] == ["two", "=======", "II", f">>>>>>> {request.spec.head[:12]}"]
    assert told(request.status) == (
        f"{request.spec.head[:12]} does not merge with main at {main[:12]} in poem; run git fetch origin && git merge origin/main "
        "on the branch, put right what does not fit, and hand in the new head"
    )


def test_a_rejection_tells_the_gate_its_exit_code_its_log_and_what_it_was_run_on(town: QueueTown) -> None:
    name = submit(town, "gr-1", {"a": b"1"}, git_builder.main_of(town.repository))
    for _ in range(20):
        town.look()
        if town.phase(name) == "Verifying":
            town.verify(name)
        for run in town.running():
            town.finish(run, reasons.FAILED if run.spec.members else reasons.PASSED, log=f"log of attempt {run.spec.attempt}")
    status, main = town.requests[name].status, git_builder.main_of(town.repository)
    (gate,) = status.gateResults
    assert status.phase == "Rejected"
    assert (gate.name, gate.verdict, gate.exitCode, gate.logTail) == ("unit-tests", "Failed", 1, "log of attempt 2")
    (decided,) = [run for run in town.gate_runs.values() if run.spec.members and run.spec.attempt == 2]
    assert status.evidence is not None
    assert (status.evidence.gateRunName, status.evidence.candidate) == (decided.metadata.name, decided.spec.candidate)
    assert (status.evidence.tree, status.evidence.base) == (decided.spec.tree, main)
    assert told(status).startswith(f"red alone on green main at {main[:12]}, 2 times: unit-tests (exit code 1) with ")
    assert "git merge origin/main" in told(status)


def test_names_and_contents_that_are_not_text_become_a_status_that_the_server_takes_and_keeps(town: QueueTown) -> None:
    start = git_builder.main_of(town.repository)
    names = [b"\xff\n\x1b[31m".decode("utf-8", "surrogateescape"), "x" * 250 + "/" + "y" * 250]
    names += [f"{('x' * 250 + '/') * 6}{number}" for number in range(6)]
    submit(town, "gr-1", {name: b"\xe4\x00" if number % 2 else b"\xe4\x1b\n" for number, name in enumerate(names)}, start)
    second = submit(town, "gr-2", {name: b"\xe5\x00" if number % 2 else b"\xe5\x1b\n" for number, name in enumerate(names)}, start)
    town.settle()
    status = town.requests[second].status
    assert status.conflict is not None
    assert "\\xff\\n\\x1b[31m" in status.conflict.files
    assert max(map(len, status.conflict.files)) <= 1024
    document = json.dumps(to_dict(status), ensure_ascii=False).encode()  # lone surrogates can not be sent
    assert b"\\u00" not in document.replace(b"\\\\u00", b"")
    assert len(told(status)) <= conditions.MESSAGE_LIMIT
    assert told(status).endswith("hand in the new head")


def test_of_hundreds_of_files_in_conflict_two_hundred_are_listed_and_ten_are_named(town: QueueTown) -> None:
    start = git_builder.main_of(town.repository)
    submit(town, "gr-1", {f"f{number:03}": b"1\n" for number in range(300)}, start)
    second = submit(town, "gr-2", {f"f{number:03}": b"2\n" for number in range(300)}, start)
    town.settle()
    conflict = town.requests[second].status.conflict
    assert conflict is not None
    assert (len(conflict.files), len(conflict.hunks)) == (200, 16)
    assert "f008, f009 and 290 more; run git fetch" in told(town.requests[second].status)


def test_work_without_a_common_history_is_told_so_and_not_to_merge(town: QueueTown) -> None:
    name = town.submit("gr-1", git_builder.commit(town.repository, {"z": b"1"}))
    town.settle()
    assert town.phase(name) == "Conflicted"
    assert "have no common history; start the work from the branch it is meant for" in told(town.requests[name].status)
    assert "git merge" not in told(town.requests[name].status)


def test_rework_on_the_new_main_lands(town: QueueTown) -> None:
    start = git_builder.change(town.repository, git_builder.main_of(town.repository), {"poem": POEM})
    submit(town, "gr-1", {"poem": POEM.replace(b"two", b"2")}, start)
    second = submit(town, "gr-2", {"poem": POEM.replace(b"two", b"II")}, start)
    town.settle()
    conflict, head = town.requests[second].status.conflict, town.requests[second].spec.head
    assert conflict is not None
    merged = git_builder.commit(town.repository, {"README": b"hello\n", "poem": POEM.replace(b"two", b"2/II")}, [head, conflict.base])
    again = town.submit("gr-2", merged, agent="greeter-2")
    town.settle()
    assert town.phase(again) == "Landed"
    main = git_builder.main_of(town.repository)
    assert git_builder.read_files(town.repository, town.repository.tree_of(main))["poem"][1] == POEM.replace(b"two", b"2/II")

"""What an agent may push that no tool of ours would make: one bad commit is told to its own request, and the queue goes on."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pygit2
import pytest
from pygit2.enums import ObjectType

from gastown.api import conditions, reasons
from gastown.api.merge_request import MergeRequest, MergeRequestStatus
from gastown.api.meta import Condition
from gastown.processes.refinery import intake, rig_queue
from gastown_git.head_inspection import HeadLimits
from gastown_git.ref_names import ObjectId
from gastown_git.repository import Repository
from support import git_builder as build
from support.queue_town import QueueTown

SUBJECT_LIMIT = 200


@pytest.fixture
def town(rig: Repository) -> QueueTown:
    return QueueTown(rig)


def stored(rig: Repository, kind: ObjectType, content: bytes) -> ObjectId:
    """An object written byte by byte, as hostile tools do."""
    return str(pygit2.Repository(str(rig.path)).write(kind, content))


def raw_commit(
    rig: Repository,
    tree: ObjectId = "",
    *,
    parents: Sequence[ObjectId] | None = None,
    message: bytes = b"Change\n",
    headers: bytes = b"",
    author: bytes = b"furiosa <furiosa@test.invalid> 1700000000 +0000",
) -> ObjectId:
    """A commit on main (or elsewhere) that adds one file, or has exactly this tree."""
    tree = tree or build.tree(rig, {"README": b"hello\n", "added": b"1\n"})
    lines = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in ([build.main_of(rig)] if parents is None else parents))]
    lines += [b"author " + author, b"committer " + author]
    return stored(rig, ObjectType.COMMIT, b"\n".join(lines) + b"\n" + headers + b"\n" + message)


def raw_tree(rig: Repository, *entries: tuple[bytes, bytes, ObjectId]) -> ObjectId:
    return stored(rig, ObjectType.TREE, b"".join(mode + b" " + name + b"\0" + bytes.fromhex(id_) for mode, name, id_ in sorted(entries)))


def blob(rig: Repository, content: bytes) -> ObjectId:
    return rig.write_blob(content)


def pinned(town: QueueTown, name: str) -> Condition:
    found = conditions.find_condition(town.requests[name].status.conditions, conditions.HEAD_PINNED)
    assert found is not None
    return found


# Words of commits

ODD_WORDS: dict[str, Callable[[Repository], ObjectId]] = {
    "an encoding nobody knows": lambda rig: raw_commit(rig, headers=b"encoding x-bogus\n"),
    "an encoding that is none of text": lambda rig: raw_commit(rig, headers=b"encoding rot13\n"),
    "an encoding that would run escapes": lambda rig: raw_commit(rig, headers=b"encoding unicode_escape\n", message=b"\\x1b[2J\n"),
    "half a character of UTF-16": lambda rig: raw_commit(rig, headers=b"encoding utf-16\n"),
    "UTF-8 that is none": lambda rig: raw_commit(rig, headers=b"encoding UTF-8\n", message=b"\xff\xfe\n"),
    "bytes without encoding": lambda rig: raw_commit(rig, message=b"\xff\xfe\n", author=b"\xff\xfe <\xff@x> 1700000000 +0000"),
    "a NUL": lambda rig: raw_commit(rig, message=b"Hello\0world\nBead: gr-9\n"),
    "terminal escapes": lambda rig: raw_commit(rig, message=b"\x1b]0;owned\x07\x1b[2J\rHi \xc2\x9b1m\xe2\x80\xae\n"),
    "a first line of 2 MB": lambda rig: raw_commit(rig, message=b"x" * 2_000_000),
    "no message": lambda rig: raw_commit(rig, message=b""),
    "no name": lambda rig: raw_commit(rig, author=b" <> 0 +0000"),
    "a time before 1970 in no zone": lambda rig: raw_commit(rig, author=b"x <x@x> -99999999 +9999"),
    "a time in 3 million years": lambda rig: raw_commit(rig, author=b"x <x@x> 99999999999999 -9999"),
    "a thousand parents": lambda rig: raw_commit(rig, parents=[raw_commit(rig, message=b"%d" % number) for number in range(1000)]),
}


@pytest.mark.parametrize("make", ODD_WORDS.values(), ids=ODD_WORDS)
def test_a_commit_with_odd_words_lands_and_what_is_written_of_it_is_one_plain_line(
    town: QueueTown, make: Callable[[Repository], ObjectId]
) -> None:
    head = make(town.repository)
    name = town.submit("gr-1", head)
    town.settle()
    assert town.phase(name) == "Landed"
    capsule = town.repository.commit(build.main_of(town.repository))
    merge = town.repository.commit(capsule.parents[1])
    assert merge.parents[1] == head
    told = [commit.message.partition("\n")[0] for commit in (capsule, merge)] + [town.look().head.subject]
    for line in told:
        assert len(line) <= SUBJECT_LIMIT + len("Merge gr-1: ")
        assert not [character for character in line if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    trailers = [line for line in capsule.message.splitlines() if line.startswith("Bead: ")]
    assert trailers == ["Bead: gr-1"]


def test_a_request_the_refinery_has_a_bug_with_does_not_stop_the_others(town: QueueTown, monkeypatch: pytest.MonkeyPatch) -> None:
    name, other = town.submit("gr-1", raw_commit(town.repository)), town.submit("gr-2", raw_commit(town.repository, message=b"Another\n"))

    def fail(repository: Repository, seen: MergeRequest, *rest: Any) -> MergeRequestStatus:
        if seen.metadata.name == name:
            raise LookupError("unknown encoding")
        return intake.take_in(repository, seen, *rest)

    monkeypatch.setattr(rig_queue, "take_in", fail)
    town.settle()
    assert (town.phase(name), town.phase(other)) == ("", "Landed")
    monkeypatch.undo()
    town.settle()
    assert town.phase(name) == "Landed"


# What is no change


def test_a_head_that_is_main_itself_never_counts_as_landed_work(town: QueueTown) -> None:
    name = town.submit("gr-1", build.main_of(town.repository))
    town.look()
    town.look()
    assert (town.phase(name), town.requests[name].status.changedPaths) == ("Verifying", 0)
    town.verify(name, "False", reasons.EMPTY_CHANGE)
    town.look()
    assert town.phase(name) == "Verifying"
    assert not conditions.is_true(town.requests[name].status.conditions, conditions.LANDED)


def test_a_head_that_another_request_landed_counts_only_for_whom_it_was_verified(town: QueueTown) -> None:
    head = raw_commit(town.repository)
    thief = town.submit("gr-2", head, agent="greeter-nux")
    owner = town.submit("gr-1", head)
    town.look()
    town.verify(owner)
    town.verify(thief, "False", reasons.WRONG_AGENT)
    town.settle()
    assert (town.phase(owner), town.phase(thief)) == ("Landed", "Verifying")


def test_a_landing_is_found_again_by_a_refinery_whose_words_were_lost(town: QueueTown) -> None:
    name = town.submit("gr-1", raw_commit(town.repository))
    submitted = town.requests[name]
    town.settle()
    assert town.phase(name) == "Landed"
    town.requests[name] = submitted
    town.restarted()
    town.look()
    assert town.phase(name) == "Landed"


# Whose work, and where to


def test_a_request_for_another_agents_branch_is_not_taken_in(town: QueueTown) -> None:
    head = raw_commit(town.repository)
    own = town.submit("gr-1", head)
    request = town.requests.pop(own)
    for number, branch in enumerate(
        ("polecat/greeter-furiosa/gr-1", "main", "polecat/greeter-nux/../greeter-furiosa/gr-1", "polecat/greeter-nux")
    ):
        spec = replace(request.spec, agentName="greeter-nux", branch=branch)
        town.requests[own] = replace(request, spec=spec, metadata=replace(request.metadata, name=f"gr-1-{number}"))
        told = intake.take_in(town.repository, town.requests[own], town.rig, build.main_of(town.repository), "2025-06-15T12:00:00Z")
        (found,) = told.conditions
        assert (found.status, found.reason) == ("False", reasons.WRONG_BRANCH), branch
        assert "push to polecat/greeter-nux/gr-1" in found.message


def test_a_request_for_a_branch_that_nothing_lands_on_is_not_taken_in(town: QueueTown) -> None:
    name = town.submit("gr-1", raw_commit(town.repository))
    town.requests[name] = replace(town.requests[name], spec=replace(town.requests[name].spec, target="release"))
    town.look()
    assert pinned(town, name).reason == reasons.WRONG_BRANCH
    assert "lands on main only, not on release" in pinned(town, name).message


@pytest.mark.parametrize("kind", ["blob", "tree", "tag", "nothing"])
def test_a_head_that_is_no_commit_is_not_taken_in(town: QueueTown, kind: str) -> None:
    rig = town.repository
    work = raw_commit(rig)
    town.submit("gr-1", work)
    tag = f"object {work}\ntype commit\ntag v1\ntagger x <x@x> 0 +0000\n\nx\n".encode()
    heads = {"blob": blob(rig, b"x"), "tree": rig.tree_of(work), "tag": stored(rig, ObjectType.TAG, tag), "nothing": "12" * 20}
    name = town.submit("gr-1", heads[kind], push=False)
    town.look()
    assert (pinned(town, name).status, pinned(town, name).reason) == ("False", reasons.HEAD_NOT_FOUND)
    assert heads[kind] in pinned(town, name).message


@pytest.mark.parametrize("name", ["gr-1..x", "gr-1.lock", "gr-" + "1" * 249])
def test_a_request_whose_name_can_be_no_ref_is_told_so(town: QueueTown, name: str) -> None:
    own = town.submit("gr-1", raw_commit(town.repository))
    request = town.requests.pop(own)
    town.requests[name] = replace(request, metadata=replace(request.metadata, name=name))
    other = town.submit("gr-2", raw_commit(town.repository, message=b"Another\n"))
    town.settle()
    assert pinned(town, name).status == "False"
    assert town.phase(other) == "Landed"


def test_unrelated_work_comes_back_as_a_conflict_that_says_what_to_do(town: QueueTown) -> None:
    name = town.submit("gr-1", raw_commit(town.repository, parents=[]))
    town.settle()
    assert town.phase(name) == "Conflicted"
    conflict = town.requests[name].status.conflict
    assert conflict is not None
    assert "start the work from the branch it is meant for" in conflict.message


# Trees that no disk can hold

LIMITS = HeadLimits(file_bytes=1000, total_bytes=2500, entries=300)


def nested(rig: Repository, depth: int, name: bytes) -> ObjectId:
    tree = raw_tree(rig, (b"100644", name, blob(rig, b"x")))
    for _ in range(depth - 1):
        tree = raw_tree(rig, (b"40000", name, tree))
    return tree


def repeated(rig: Repository, levels: int) -> ObjectId:
    """Ten names for one folder of ten names for one folder: 10 ** levels paths in a handful of objects."""
    tree = raw_tree(rig, (b"100644", b"empty", blob(rig, b"")))
    for _ in range(levels):
        tree = raw_tree(rig, *((b"40000", b"%d" % number, tree) for number in range(10)))
    return tree


UNUSABLE: dict[str, tuple[Callable[[Repository], ObjectId], str]] = {
    "a name of 256 bytes": (lambda rig: raw_tree(rig, (b"100644", b"n" * 256, blob(rig, b"x"))), "a name of 256 bytes"),
    "a path of 4,219 bytes": (lambda rig: nested(rig, 21, b"n" * 200), "a path of"),
    "5,000 folders in each other": (lambda rig: nested(rig, 5000, b"d"), "more than 200 folders in each other"),
    "a link to nowhere": (lambda rig: raw_tree(rig, (b"120000", b"link", blob(rig, b""))), "link is a link to 0 bytes"),
    "a link to a NUL": (lambda rig: raw_tree(rig, (b"120000", b"link", blob(rig, b"a\0b"))), "link is a link to a name with a NUL"),
    "a link to a name of 5,000 bytes": (lambda rig: raw_tree(rig, (b"120000", b"link", blob(rig, b"a" * 5000))), "link is a link to 5000"),
    "a mode that git takes for a submodule": (lambda rig: raw_tree(rig, (b"777", b"odd", blob(rig, b"x"))), "odd has the mode 777"),
    "a file that is too large": (lambda rig: raw_tree(rig, (b"100644", b"big", blob(rig, b"x" * 1001))), "big has 1001 bytes"),
    "files that are too large together": (
        lambda rig: raw_tree(rig, *((b"100644", b"%d" % number, blob(rig, b"%d" % number * 900)) for number in range(3))),
        "more than 2500 bytes",
    ),
    "more paths than anybody could write": (lambda rig: repeated(rig, 10), "more than 300 files and folders"),
    "a name of terminal escapes": (lambda rig: raw_tree(rig, (b"777", b"\xff\x1b[2J\n", blob(rig, b"x"))), "\\udcff\\x1b[2J\\n has"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "says"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_tree_that_no_gate_could_unpack_is_refused_by_path_and_the_next_request_lands(
    town: QueueTown, monkeypatch: pytest.MonkeyPatch, make: Callable[[Repository], ObjectId], says: str
) -> None:
    monkeypatch.setattr(intake, "LIMITS", LIMITS)
    name = town.submit("gr-1", raw_commit(town.repository, make(town.repository)))
    other = town.submit("gr-2", raw_commit(town.repository))
    town.settle()
    assert (pinned(town, name).status, pinned(town, name).reason) == ("False", reasons.UNUSABLE_TREE)
    assert says in pinned(town, name).message
    assert len(pinned(town, name).message) < 1000
    assert town.repository.refs.find(f"refs/mr/{name}") is None
    assert town.phase(other) == "Landed"


def test_only_what_a_head_changes_is_held_against_it(town: QueueTown, monkeypatch: pytest.MonkeyPatch) -> None:
    first = raw_commit(town.repository, raw_tree(town.repository, (b"100644", b"big", blob(town.repository, b"x" * 1001))))
    town.submit("gr-1", first)
    town.settle()
    monkeypatch.setattr(intake, "LIMITS", LIMITS)
    name = town.submit("gr-2", build.change(town.repository, build.main_of(town.repository), {"small": b"1"}))
    town.settle()
    assert town.phase(name) == "Landed"


def test_names_of_files_in_conflict_are_told_as_plain_text_however_they_are_spelled(town: QueueTown) -> None:
    rig, names = town.repository, [b"\xff\x1b[31m%d" % number + b"n" * 200 for number in range(250)]
    one, other = (
        raw_commit(rig, raw_tree(rig, *((b"100644", name, blob(rig, text)) for name in names)), message=text) for text in (b"1", b"2")
    )
    first, second = town.submit("gr-1", one), town.submit("gr-2", other)
    town.settle()
    assert (town.phase(first), town.phase(second)) == ("Landed", "Conflicted")
    status = town.requests[second].status
    assert status.conflict is not None
    assert len(status.conflict.files) == 200
    told = "".join([*status.conflict.files, status.conflict.message, *(condition.message for condition in status.conditions)])
    told.encode()  # a lone surrogate would make every write of this status fail
    assert "\x1b" not in told
    assert all(file.isprintable() for file in status.conflict.files)

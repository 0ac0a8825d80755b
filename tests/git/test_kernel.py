"""The kernel: what may move main, and what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gastown_git.merge import Head, Stack, stack
from gastown_git.ref_names import evidence_ref
from gastown_git.refinery.evidence import find_evidence, list_evidence, record_attempt
from gastown_git.refinery.kernel import MainMoved, NoSuchBranch, NotContained, NotGated, adopt, anchor, land
from gastown_git.refinery.verdicts import Attempt, GateResult, Verdict
from gastown_git.repository import Repository
from support import git_builder as build

GATES = "ab" * 32
OTHER_GATES = "cd" * 32


def candidate(repository: Repository, base: str, *heads: str) -> str:
    built = stack(repository, base, [Head(head, build.author(), "Merge") for head in heads])
    assert isinstance(built, Stack)
    return built.commit


def gate(repository: Repository, commit: str, verdict: Verdict = Verdict.PASSED, *, gates: str = GATES, number: int = 1) -> None:
    attempt = Attempt(number=number, verdict=verdict, candidate=commit, base=commit)
    record_attempt(repository, gates, repository.tree_of(commit), attempt)


def land_it(repository: Repository, commit: str, *heads: str) -> str:
    return land(repository, "main", commit, heads, GATES, build.REFINERY, "Land")


def test_landing_makes_a_capsule_with_the_gated_tree_on_top_of_main(rig: Repository) -> None:
    main = build.main_of(rig)
    head = build.change(rig, main, {"a": b"1"})
    made = candidate(rig, main, head)
    gate(rig, made)
    landed = land_it(rig, made, head)
    assert build.main_of(rig) == landed
    capsule = rig.commit(landed)
    assert (capsule.tree, capsule.parents, capsule.author) == (rig.tree_of(made), (main, made), build.REFINERY)
    assert anchor(rig, landed) == made
    assert rig.is_ancestor(head, landed)


@pytest.mark.parametrize(
    ("verdict", "gates"),
    [
        pytest.param(None, GATES, id="never gated"),
        pytest.param(Verdict.FAILED, GATES, id="red"),
        pytest.param(Verdict.ERROR, GATES, id="gate error"),
        pytest.param(Verdict.PASSED, OTHER_GATES, id="green under other gates"),
    ],
)
def test_a_candidate_without_a_green_verdict_under_the_present_gates_does_not_land(
    rig: Repository, verdict: Verdict | None, gates: str
) -> None:
    main = build.main_of(rig)
    head = build.change(rig, main, {"a": b"1"})
    made = candidate(rig, main, head)
    if verdict is not None:
        gate(rig, made, verdict, gates=gates)
    with pytest.raises(NotGated, match=rig.tree_of(made)):
        land_it(rig, made, head)
    assert build.main_of(rig) == main


def test_evidence_of_an_identical_tree_counts_whoever_built_it(rig: Repository) -> None:
    main = build.main_of(rig)
    one, other = build.change(rig, main, {"a": b"1"}), build.change(rig, main, {"a": b"1"}, message="Same work by another")
    gate(rig, candidate(rig, main, one))
    assert rig.is_ancestor(other, land_it(rig, candidate(rig, main, other), other))


def test_a_candidate_that_lacks_a_head_does_not_land(rig: Repository) -> None:
    main = build.main_of(rig)
    head, forgotten = build.change(rig, main, {"a": b"1"}), build.change(rig, main, {"b": b"1"})
    made = candidate(rig, main, head)
    gate(rig, made)
    with pytest.raises(NotContained, match=forgotten):
        land_it(rig, made, head, forgotten)
    assert build.main_of(rig) == main


def test_a_candidate_built_on_an_older_main_does_not_land(rig: Repository) -> None:
    main = build.main_of(rig)
    one, other = build.change(rig, main, {"a": b"1"}), build.change(rig, main, {"b": b"1"})
    first, second = candidate(rig, main, one), candidate(rig, main, other)
    gate(rig, first)
    gate(rig, second)
    landed = land_it(rig, first, one)
    with pytest.raises(MainMoved, match=landed):
        land_it(rig, second, other)
    assert build.main_of(rig) == landed


def test_a_candidate_stacked_on_the_one_that_just_landed_stays_valid(rig: Repository) -> None:
    main = build.main_of(rig)
    one, other = build.change(rig, main, {"a": b"1"}), build.change(rig, main, {"b": b"1"})
    first = candidate(rig, main, one)
    second = candidate(rig, first, other)
    gate(rig, first)
    gate(rig, second)
    capsule = land_it(rig, first, one)
    tip = land_it(rig, second, other)
    assert [each.commit for each in rig.first_parent_log(tip)] == [tip, capsule, main]
    assert build.read_files(rig, rig.tree_of(tip)).keys() == {"README", "a", "b"}


def test_landing_twice_moves_main_once(rig: Repository) -> None:
    main = build.main_of(rig)
    head = build.change(rig, main, {"a": b"1"})
    made = candidate(rig, main, head)
    gate(rig, made)
    assert land_it(rig, made, head) == land_it(rig, made, head) == build.main_of(rig)
    assert len(list(rig.first_parent_log(build.main_of(rig)))) == 2


def test_another_writer_between_look_and_swap_makes_the_landing_fail(rig: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    main = build.main_of(rig)
    one, other = build.change(rig, main, {"a": b"1"}), build.change(rig, main, {"b": b"1"})
    slow, quick = candidate(rig, main, one), candidate(rig, main, other)
    gate(rig, slow)
    gate(rig, quick)
    write_commit = rig.write_commit

    def write_commit_late(**arguments: object) -> str:
        monkeypatch.undo()
        land_it(Repository.open(rig.path), quick, other)  # a stale refinery wakes up at the worst moment
        return write_commit(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rig, "write_commit", write_commit_late)
    with pytest.raises(MainMoved, match="while"):
        land_it(rig, slow, one)
    assert rig.commit(build.main_of(rig)).parents == (main, quick)


def test_a_merge_by_strangers_whose_tree_differs_from_its_second_parent_is_its_own_anchor(rig: Repository) -> None:
    main = build.main_of(rig)
    side = build.change(rig, main, {"b": b"1"})
    merged = rig.write_commit(tree=build.tree(rig, {"x": b"1"}), parents=[main, side], author=build.author(), message="Evil merge")
    octopus = rig.write_commit(tree=rig.tree_of(side), parents=[main, side, merged], author=build.author(), message="Octopus")
    capsule = rig.write_commit(tree=rig.tree_of(side), parents=[main, side], author=build.author(), message="Capsule")
    assert [anchor(rig, each) for each in (main, merged, octopus, capsule)] == [main, merged, octopus, side]


def test_adoption_happens_once_and_never_moves_an_existing_main(rig: Repository, tmp_path: Path) -> None:
    main = build.main_of(rig)
    assert adopt(rig, "main", build.change(rig, main, {"a": b"1"})) == main
    empty = Repository.create(tmp_path / "empty.git")
    with pytest.raises(NoSuchBranch, match="adopt the rig first"):
        land(empty, "main", main, [], GATES, build.REFINERY, "Land")


def test_a_green_stays_green_and_a_number_is_recorded_once(rig: Repository) -> None:
    main = build.main_of(rig)
    gate(rig, main, Verdict.PASSED, number=1)
    gate(rig, main, Verdict.FAILED, number=1)
    gate(rig, main, Verdict.FAILED, number=2)
    evidence = find_evidence(rig, GATES, rig.tree_of(main))
    assert evidence is not None
    assert [(each.number, each.verdict) for each in evidence.attempts] == [(1, Verdict.PASSED), (2, Verdict.FAILED)]
    assert (evidence.is_green, evidence.is_flaky, evidence.reds, evidence.next_attempt) == (True, True, 1, 3)


def test_evidence_comes_back_as_it_was_recorded_with_long_logs_shortened_to_their_end(rig: Repository) -> None:
    tree = rig.tree_of(build.main_of(rig))
    gates = (GateResult("unit", Verdict.FAILED, 1, 2.5, "x" * 9000 + "E assert \udc80"), GateResult("lint", Verdict.ERROR))
    attempt = Attempt(1, Verdict.FAILED, build.main_of(rig), build.main_of(rig), ("gp-1-abc",), gates, 10.0, 20.5)
    record_attempt(rig, GATES, tree, attempt)
    found = find_evidence(Repository.open(rig.path), GATES, tree)
    assert found is not None
    assert found.attempts[0].gates[0].log_tail.endswith("E assert \udc80")
    assert len(found.attempts[0].gates[0].log_tail) == 8000
    assert found.attempts[0].gates[1] == gates[1]
    assert (found.attempts[0].members, found.attempts[0].finish_time) == (("gp-1-abc",), 20.5)
    assert list(list_evidence(rig, GATES)) == [found]
    assert list(list_evidence(rig, OTHER_GATES)) == []


def test_two_recorders_at_the_same_moment_lose_no_attempt(rig: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    main = build.main_of(rig)
    write_blob = rig.write_blob

    def write_blob_late(content: bytes) -> str:
        monkeypatch.undo()
        gate(Repository.open(rig.path), main, Verdict.PASSED, number=1)
        return write_blob(content)

    monkeypatch.setattr(rig, "write_blob", write_blob_late)
    gate(rig, main, Verdict.FAILED, number=2)
    evidence = find_evidence(rig, GATES, rig.tree_of(main))
    assert evidence is not None
    assert [each.number for each in evidence.attempts] == [1, 2]


@pytest.mark.parametrize(("digest", "tree"), [("../../heads", "12" * 20), ("ab" * 32, "main"), ("AB" * 32, "12" * 20)])
def test_evidence_under_a_name_that_is_no_digest_or_tree_is_refused(rig: Repository, digest: str, tree: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        find_evidence(rig, digest, tree)


def test_evidence_lies_under_the_ref_that_the_design_names(rig: Repository) -> None:
    main = build.main_of(rig)
    gate(rig, main)
    assert rig.refs.find(f"refs/evidence/{GATES}/{rig.tree_of(main)}") == rig.refs.find(evidence_ref(GATES, rig.tree_of(main)))
    assert rig.refs.find(evidence_ref(GATES, rig.tree_of(main))) is not None

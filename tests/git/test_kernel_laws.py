"""The kernel's claims against a planner that rolls dice, crashes at any step, and a second refinery that acts at the worst moment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gastown_git.merge import Head, Stack, stack
from gastown_git.ref_names import branch_ref
from gastown_git.refinery import kernel
from gastown_git.refinery.evidence import find_evidence, record_attempt
from gastown_git.refinery.verdicts import Attempt, Verdict
from gastown_git.repository import Repository
from support import git_builder as build

GATES = "ab" * 32
OTHER_GATES = "cd" * 32
MAIN = branch_ref("main")
_WHICH = st.one_of(st.integers(0, 3), st.integers(0, 30))
"""A candidate, counted from the last; often one of the last, because those can land."""

STEPS = ("before the capsule", "after the capsule", "before the swap", "after the swap")


class Killed(BaseException):
    """The process ended here."""


class Landings(RuleBasedStateMachine):
    """Heads, candidates and verdicts at random; only what `land` promises is expected."""

    @initialize()
    def adopt(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="landings-"))
        self.repository = Repository.create(self.folder / "rig.git")
        first = build.commit(self.repository, {"README": b"hello"})
        side = build.change(self.repository, first, {"side": b"1", "README": None})
        tree = build.tree(self.repository, {"README": b"hello", "side": b"1"})
        # a merge as strangers make them: two parents, but the tree is not the second one's
        merged = self.repository.write_commit(tree=tree, parents=[first, side], author=build.author(), message="Merge")
        self.adopted = kernel.adopt(self.repository, "main", merged)
        self.mains = [self.adopted]
        self.commits = [self.adopted, side]
        self.files: dict[str, str] = {}
        self.candidates: dict[str, tuple[str, ...]] = {}
        self.promised: set[str] = set()
        self.work_build_and_gate(0, "ab", Verdict.PASSED)

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what strangers do

    @rule(start=st.integers(0, 99), name=st.sampled_from("abcdefgh"))
    def work(self, start: int, name: str) -> None:
        """An agent commits a file of its own, on any commit it has seen."""
        number = len(self.commits)
        parent = self.commits[start % number]
        head = build.change(self.repository, parent, {f"{name}{number}": str(number).encode()}, time=build.NOON + number)
        self.files[head] = f"{name}{number}"
        self.commits.append(head)

    # -- a planner that rolls dice

    @rule(base=st.integers(0, 99), picked=st.lists(st.integers(0, 99), max_size=3), claimed=st.lists(st.integers(0, 99), max_size=2))
    def build_candidate(self, base: int, picked: list[int], claimed: list[int]) -> None:
        """Stack any heads on any commit, and claim to have stacked others too."""
        heads = [self.commits[number % len(self.commits)] for number in picked]
        bases = [*self.mains, *(kernel.anchor(self.repository, main) for main in self.mains), *self.candidates, *self.commits]
        made = stack(self.repository, bases[base % len(bases)], [Head(head, build.author(), "Merge") for head in heads])
        if isinstance(made, Stack):
            extra = [self.commits[number % len(self.commits)] for number in claimed]
            self.candidates[made.commit] = tuple(dict.fromkeys([*heads, *extra]))

    @rule(
        age=st.integers(0, 2),
        names=st.sampled_from(["a", "b", "ab"]),
        verdict=st.sampled_from([Verdict.PASSED, Verdict.PASSED, Verdict.FAILED]),
    )
    def work_build_and_gate(self, age: int, names: str, verdict: Verdict) -> None:
        """The ordinary way, on this main or one a little older, so that landings do happen."""
        tip = kernel.anchor(self.repository, self.mains[max(0, len(self.mains) - 1 - age)])
        for name in names:
            self.work(-1 - age, name)
        heads = self.commits[-len(names) :]
        made = stack(self.repository, tip, [Head(head, build.author(), "Merge") for head in heads])
        assert isinstance(made, Stack), "files of their own never conflict"
        self.candidates[made.commit] = tuple(heads)
        self.gate(len(self.candidates) - 1, verdict, GATES)

    @rule(which=st.integers(0, 99), verdict=st.sampled_from(Verdict), gates=st.sampled_from([GATES, GATES, OTHER_GATES]))
    def gate(self, which: int, verdict: Verdict, gates: str) -> None:
        """Any candidate gets any verdict, also a second one."""
        if not self.candidates:
            return
        commit = list(self.candidates)[which % len(self.candidates)]
        tree = self.repository.tree_of(commit)
        known = find_evidence(self.repository, gates, tree)
        attempt = Attempt(known.next_attempt if known else 1, verdict, commit, commit)
        record_attempt(self.repository, gates, tree, attempt)

    @rule(
        names=st.sampled_from(["a", "ab"]),
        verdict=st.sampled_from([Verdict.PASSED, Verdict.PASSED, Verdict.FAILED]),
        age=st.integers(0, 1),
        which=st.integers(0, 1),
        step=st.sampled_from(STEPS),
        event=st.sampled_from(["none", "killed", "overtaken", "overtaken"]),
        lies=st.sampled_from([False, False, True]),
    )
    def work_and_land(self, names: str, verdict: Verdict, age: int, which: int, step: str, event: str, lies: bool) -> None:
        """Two pieces of work on one main, then one landing that the other may overtake: hypothesis mutes whole rules in many runs."""
        self.work_build_and_gate(age, names, verdict)
        self.work_build_and_gate(0, "a", Verdict.PASSED)
        if lies:
            self.work(-1, "c")
            self.candidates[list(self.candidates)[-1 - which]] += (self.commits[-1],)
        self.land(which, 1 - which, step, event)

    @rule(which=_WHICH, other=_WHICH, step=st.sampled_from(STEPS), event=st.sampled_from(["none", "killed", "overtaken", "overtaken"]))
    def land(self, which: int, other: int, step: str, event: str) -> None:
        """Try to land any candidate; in the middle the refinery dies, or a stale second one wakes up and lands another."""

        def die() -> None:
            raise Killed

        def overtake() -> None:
            mine, self.repository = self.repository, Repository.open(self.repository.path)
            self._land(other)
            self.repository = mine

        self._land(which, {"none": {}, "killed": {step: die}, "overtaken": {step: overtake}}[event])
        self.repository = Repository.open(self.repository.path)

    def _land(self, which: int, events: dict[str, Callable[[], None]] | None = None) -> None:
        if not self.candidates:
            return
        commit = list(self.candidates)[-1 - which % len(self.candidates)]
        heads = self.candidates[commit]
        repository = _Interrupted(self.repository, events or {})
        try:
            kernel.land(repository, "main", commit, heads, GATES, build.REFINERY, "Land")
        except (kernel.NotGated, kernel.NotContained, kernel.MainMoved, Killed):
            pass
        else:
            self.promised.update(heads)
        tip = build.main_of(self.repository)
        if tip != self.mains[-1]:
            self.mains.append(tip)

    # -- what is promised

    @invariant()
    def every_first_parent_tree_is_green(self) -> None:
        for landing in self._log():
            if landing != self.adopted:
                evidence = find_evidence(self.repository, GATES, self.repository.tree_of(landing))
                assert evidence is not None
                assert evidence.is_green

    @invariant()
    def main_only_grows(self) -> None:
        log = self._log()
        assert [commit for commit in self.mains if commit not in log] == []

    @invariant()
    def no_landed_head_and_no_file_of_one_is_lost(self) -> None:
        tip = build.main_of(self.repository)
        files = build.read_files(self.repository, self.repository.tree_of(tip))
        assert {"README", "side"} <= files.keys()
        for head in self.promised:
            assert self.repository.is_ancestor(head, tip)
            assert head not in self.files or self.files[head] in files

    def _log(self) -> list[str]:
        """Main since the adoption, the newest first."""
        log = [each.commit for each in self.repository.first_parent_log(build.main_of(self.repository))]
        return log[: log.index(self.adopted) + 1]


class _Interrupted(Repository):
    """The repository as `land` sees it, with something happening between its steps."""

    def __init__(self, repository: Repository, events: dict[str, Callable[[], None]]) -> None:
        super().__init__(repository.path)
        self._events = events
        move = self.refs.move_protected_branch

        def move_with_events(name: str, *, new: str, expected: str | None) -> None:
            self._happen("before the swap")
            move(name, new=new, expected=expected)
            self._happen("after the swap")

        setattr(self.refs, "move_protected_branch", move_with_events)  # noqa: B010 - mypy knows it for a method

    def write_commit(self, **arguments: Any) -> str:
        self._happen("before the capsule")
        commit = super().write_commit(**arguments)
        self._happen("after the capsule")
        return commit

    def _happen(self, step: str) -> None:
        event = self._events.pop(step, None)
        if event is not None:
            event()


TestLandings = Landings.TestCase
TestLandings.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)

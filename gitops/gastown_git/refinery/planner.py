"""What the merge queue does next: a pure function of queue, candidates and evidence.

The planner may be as clever as it likes, because it can not move main: whatever it wants landed, the kernel checks. This strategy is
serial: the first in the queue is stacked alone on main, gated, landed. The seam is cut for Chain & Probe, which stacks groups and
spends every free gate slot: a candidate is a base and a group, evidence is per tree, and several gates may run.

`plan` is asked again after each round of decisions is carried out, until it wants nothing that can be done at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gastown_git.ref_names import ObjectId
from gastown_git.refinery.verdicts import Evidence

STRIKES = 2
"""Reds alone on green main before a merge request is rejected: one could be a flaky gate."""

GATE_ERRORS = 3
"""Gate runs in a row that could not speak before a merge request is held for a person."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A merge request in the queue: pinned, verified, not suspended.

    Attributes:
        name: Of the merge request.
        head: The pinned commit.
        priority: 0 (first) to 4.
        convoy_time: When its convoy was made, seconds since 1970; its own submission when it has none.
        submitted_time: When it was made, seconds since 1970.
        retry_time: When a person last asked for another try; gate errors before it do not count.
    """

    name: str
    head: ObjectId
    priority: int
    convoy_time: float
    submitted_time: float
    retry_time: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Merge requests stacked on a base, first merged first.

    Attributes:
        base: A commit: the anchor of main, or a candidate in flight.
        members: Names of merge requests.
    """

    base: ObjectId
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A candidate that merges.

    Attributes:
        commit: The topmost merge commit, or the base itself when it contained every head.
        tree: Its tree.
    """

    commit: ObjectId
    tree: ObjectId


@dataclass(frozen=True, slots=True)
class Conflict:
    """A candidate that does not merge.

    Attributes:
        member: The merge request that could not be stacked.
        files: Paths in conflict.
        message: git's words.
    """

    member: str
    files: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class QueueView:
    """All the planner may know.

    Attributes:
        anchor: What candidates are stacked on, see `kernel.anchor`.
        entries: The queue in any order.
        built: What is known about candidates; one that is missing has not been tried.
        evidence: Tree -> gate results under the rig's present gates.
        strikes: Merge request -> reds it caused alone, under the present gates.
        running: Trees whose gates run now.
        free_slots: Gate runs that may be started.
    """

    anchor: ObjectId
    entries: Sequence[Entry]
    built: Mapping[Candidate, Built | Conflict] = field(default_factory=dict)
    evidence: Mapping[ObjectId, Evidence] = field(default_factory=dict)
    strikes: Mapping[str, int] = field(default_factory=dict)
    running: frozenset[ObjectId] = frozenset()
    free_slots: int = 1


@dataclass(frozen=True, slots=True)
class Build:
    """Stack the candidate, then ask again."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class StartGates:
    """Have the rig's gates run on the candidate's tree.

    Attributes:
        attempt: Number of this run on the tree.
    """

    candidate: Candidate
    built: Built
    attempt: int


@dataclass(frozen=True, slots=True)
class Land:
    """Hand the candidate to the kernel, then ask again."""

    candidate: Candidate
    built: Built


@dataclass(frozen=True, slots=True)
class Reject:
    """The merge request is red alone on green main.

    Attributes:
        tree: Whose evidence shows it.
    """

    member: str
    base: ObjectId
    tree: ObjectId


@dataclass(frozen=True, slots=True)
class ReturnConflict:
    """The merge request does not merge with main."""

    member: str
    base: ObjectId
    conflict: Conflict


@dataclass(frozen=True, slots=True)
class Hold:
    """The gates could not speak about the merge request, repeatedly; a person should look.

    Attributes:
        tree: Whose evidence shows it.
    """

    member: str
    tree: ObjectId
    errors: int


Decision: TypeAlias = Build | StartGates | Land | Reject | ReturnConflict | Hold


def plan(view: QueueView) -> list[Decision]:
    """What to do now; empty when there is nothing but to wait for gates.

    Merge requests that are turned away make room for the next in the same answer, so that one look empties the queue of them.
    """
    turned_away: list[Decision] = []
    for entry in in_order(view.entries):
        decision = _for_first(view, entry)
        if isinstance(decision, (Reject, ReturnConflict, Hold)):
            turned_away.append(decision)
            continue
        return [*turned_away, decision] if decision is not None else turned_away
    return turned_away


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """The queue, first to land first: by priority, then the older convoy, then the earlier submission."""
    return sorted(entries, key=lambda entry: (entry.priority, entry.convoy_time, entry.submitted_time, entry.name))


def _for_first(view: QueueView, entry: Entry) -> Decision | None:
    candidate = Candidate(view.anchor, (entry.name,))
    built = view.built.get(candidate)
    if built is None:
        return Build(candidate)
    if isinstance(built, Conflict):
        return ReturnConflict(entry.name, view.anchor, built)
    if built.tree in view.running:
        return None
    evidence = view.evidence.get(built.tree)
    if evidence is not None and evidence.is_green:
        return Land(candidate, built)
    if evidence is not None and evidence.reds and view.strikes.get(entry.name, 0) >= STRIKES:
        return Reject(entry.name, view.anchor, built.tree)
    errors = evidence.errors_since(entry.retry_time) if evidence is not None else 0
    if errors >= GATE_ERRORS:
        return Hold(entry.name, built.tree, errors)
    if view.free_slots <= 0:
        return None
    return StartGates(candidate, built, evidence.next_attempt if evidence is not None else 1)

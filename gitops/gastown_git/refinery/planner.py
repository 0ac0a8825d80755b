"""What the merge queue does next: a pure function of queue, candidates and evidence.

The planner may be as clever as it likes, because it can not move main: whatever it wants landed, the kernel checks. This strategy is
serial: the first in the queue is stacked alone on main, gated, landed. The seam is cut for Chain & Probe, which stacks groups and
spends every free gate slot: a candidate is a base and a group, evidence is per tree, and several gates may run.

`plan` is asked again after each round of decisions is carried out, until it wants nothing that can be done at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gastown_git.conflict_hunks import Hunk
from gastown_git.ref_names import ObjectId
from gastown_git.refinery.verdicts import Attempt, Evidence, Verdict

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
        members: Names of merge requests; none is the base itself, gated to learn whether it is green.
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
        hunks: The first places in conflict.
    """

    member: str
    files: tuple[str, ...]
    message: str
    hunks: tuple[Hunk, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueView:
    """All the planner may know.

    Attributes:
        anchor: What candidates are stacked on, see `kernel.anchor`.
        entries: The queue in any order.
        built: What is known about candidates; one that is missing has not been tried.
        evidence: Tree -> gate results under the rig's present gates.
        strikes: Merge request -> reds it caused alone, see `count_strikes`.
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
class HoldForMain:
    """The merge request is red and so is main itself, so nobody can tell whose fault it is; it is tried again when main has moved.

    Attributes:
        tree: Whose evidence shows the red of the merge request.
        main_tree: Whose evidence shows the red of main.
    """

    member: str
    base: ObjectId
    tree: ObjectId
    main_tree: ObjectId


@dataclass(frozen=True, slots=True)
class Hold:
    """The gates could not speak about the merge request, repeatedly; a person should look.

    Attributes:
        tree: Whose evidence shows it.
    """

    member: str
    tree: ObjectId
    errors: int


TurnAway: TypeAlias = Reject | ReturnConflict | HoldForMain | Hold
Decision: TypeAlias = Build | StartGates | Land | TurnAway


def plan(view: QueueView) -> list[Decision]:
    """What to do now; empty when there is nothing but to wait for gates.

    What is green lands, whatever its place, and a gate that runs is waited for: a more urgent merge request that comes meanwhile
    goes next, where putting it in front would throw the finished work away, each time one comes.
    Merge requests that are turned away make room for the next in the same answer, so that one look empties the queue of them.
    """
    order = in_order(view.entries)
    for entry in order:
        candidate = Candidate(view.anchor, (entry.name,))
        built = view.built.get(candidate)
        if isinstance(built, Built) and _evidence(view, built).is_green:
            return [Land(candidate, built)]
    if _is_gating(view, order):
        return []
    turned_away: list[Decision] = []
    for entry in order:
        decision = _for_first(view, entry)
        turned_away += [] if decision is None else [decision]
        if not isinstance(decision, Reject | ReturnConflict | HoldForMain | Hold):
            break
    return turned_away


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """The queue, first to land first: by priority, then the older convoy, then the earlier submission."""
    return sorted(entries, key=lambda entry: (entry.priority, entry.convoy_time, entry.submitted_time, entry.name))


def count_strikes(known: Iterable[Evidence]) -> dict[str, int]:
    """Count the reds that merge requests caused alone, leaving out those on a base that is known to be red by itself.

    Args:
        known: All evidence under the rig's present gates.

    Returns:
        Name of the merge request -> reds; without those that have none.
    """
    known = list(known)
    red_bases = {
        attempt.candidate for evidence in known if not evidence.is_green for attempt in evidence.attempts if _is_red(attempt, members=0)
    }
    alone = [attempt for evidence in known for attempt in evidence.attempts if _is_red(attempt, members=1)]
    return dict(Counter(attempt.members[0] for attempt in alone if attempt.base not in red_bases))


def _for_first(view: QueueView, entry: Entry) -> Decision | None:
    candidate = Candidate(view.anchor, (entry.name,))
    built = view.built.get(candidate)
    if built is None:
        return Build(candidate)
    if isinstance(built, Conflict):
        return ReturnConflict(entry.name, view.anchor, built)
    evidence = _evidence(view, built)
    if evidence.reds and max(evidence.reds, view.strikes.get(entry.name, 0)) >= STRIKES:
        return _for_red(view, entry, built)
    return _gate(view, entry, candidate, built)


def _for_red(view: QueueView, entry: Entry, built: Built) -> Decision | None:
    """Red twice: rejected if main is green without it, which an adopted main or one under new gates has still to show."""
    main = Candidate(view.anchor, ())
    main_built = view.built.get(main)
    if main_built is None:
        return Build(main)
    assert isinstance(main_built, Built), f"nothing stacked on {view.anchor} can not conflict"
    evidence = _evidence(view, main_built)
    if evidence.is_green:
        return Reject(entry.name, view.anchor, built.tree)
    if evidence.reds >= STRIKES:
        return HoldForMain(entry.name, view.anchor, built.tree, main_built.tree)
    return _gate(view, entry, main, main_built)


def _gate(view: QueueView, entry: Entry, candidate: Candidate, built: Built) -> StartGates | Hold | None:
    evidence = _evidence(view, built)
    errors = evidence.errors_since(entry.retry_time)
    if errors >= GATE_ERRORS:
        return Hold(entry.name, built.tree, errors)
    return StartGates(candidate, built, evidence.next_attempt) if view.free_slots > 0 else None


def _is_gating(view: QueueView, order: Sequence[Entry]) -> bool:
    candidates = [Candidate(view.anchor, ()), *(Candidate(view.anchor, (entry.name,)) for entry in order)]
    found = [view.built.get(candidate) for candidate in candidates]
    return any(isinstance(built, Built) and built.tree in view.running for built in found)


def _evidence(view: QueueView, built: Built) -> Evidence:
    return view.evidence.get(built.tree) or Evidence("", built.tree)


def _is_red(attempt: Attempt, *, members: int) -> bool:
    return attempt.verdict is Verdict.FAILED and len(attempt.members) == members

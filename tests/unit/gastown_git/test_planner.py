"""The merge queue's decisions as tables: what is seen, what is done next."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_git.refinery.planner import (
    Build,
    Built,
    Candidate,
    Conflict,
    Decision,
    Entry,
    Hold,
    HoldForMain,
    Land,
    QueueView,
    Reject,
    ReturnConflict,
    StartGates,
    count_strikes,
    in_order,
    plan,
)
from gastown_git.refinery.verdicts import Attempt, Evidence, Verdict

MAIN = "a0" * 20
MAIN_TREE = "a1" * 20
GATES = "ab" * 32
P, F, E = Verdict.PASSED, Verdict.FAILED, Verdict.ERROR


def entry(name: str, *, priority: int = 2, convoy: float = 0, submitted: float = 0, retry_time: float = 0) -> Entry:
    return Entry(name, f"{name:0>40}", priority, convoy, submitted, retry_time)


def alone(name: str) -> Candidate:
    return Candidate(MAIN, (name,))


def built(name: str) -> Built:
    return Built(f"c{name:0>39}", f"d{name:0>39}")


def evidence(name: str, *verdicts: Verdict, base: str = MAIN) -> Evidence:
    candidate, members = (built(name), (name,)) if name else (Built(MAIN, MAIN_TREE), ())
    attempts = tuple(Attempt(number, each, candidate.commit, base, members, finish_time=number) for number, each in enumerate(verdicts, 1))
    return Evidence(GATES, candidate.tree, attempts)


def view(
    *entries: Entry,
    stacked: tuple[str, ...] = (),
    conflicts: tuple[str, ...] = (),
    known: tuple[Evidence, ...] = (),
    running: tuple[str, ...] = (),
    free_slots: int = 1,
    main_is_built: bool = False,
) -> QueueView:
    results: dict[Candidate, Built | Conflict] = {alone(name): built(name) for name in stacked}
    results |= {alone(name): Conflict(name, ("a.py",), "both changed it") for name in conflicts}
    if main_is_built:
        results[Candidate(MAIN, ())] = Built(MAIN, MAIN_TREE)
    by_tree: Mapping[str, Evidence] = {each.tree: each for each in known}
    trees = frozenset(built(name).tree if name else MAIN_TREE for name in running)
    return QueueView(MAIN, entries, results, by_tree, count_strikes(known), trees, free_slots)


A, B = entry("a"), entry("b", submitted=1)
CONFLICT_A = ReturnConflict("a", MAIN, Conflict("a", ("a.py",), "both changed it"))
MAIN_ITSELF = Candidate(MAIN, ())


@pytest.mark.parametrize(
    ("seen", "decisions"),
    [
        pytest.param(view(), [], id="nothing waits"),
        pytest.param(view(B, A), [Build(alone("a"))], id="the first is stacked"),
        pytest.param(view(A, B, stacked=("a",)), [StartGates(alone("a"), built("a"), 1)], id="and gated, alone"),
        pytest.param(view(A, B, stacked=("a",), free_slots=0), [], id="no slot is free"),
        pytest.param(view(A, B, stacked=("a",), running=("a",), free_slots=5), [], id="its gates run: serial, so nothing else starts"),
        pytest.param(view(A, stacked=("a",), known=(evidence("a", P),)), [Land(alone("a"), built("a"))], id="green: land"),
        pytest.param(view(A, stacked=("a",), known=(evidence("a", F, P),)), [Land(alone("a"), built("a"))], id="red, then green: land"),
        pytest.param(view(A, stacked=("a",), known=(evidence("a", P, F),)), [Land(alone("a"), built("a"))], id="green, then red: land"),
        pytest.param(
            view(A, B, stacked=("a", "b"), known=(evidence("b", P),)), [Land(alone("b"), built("b"))], id="green lands out of turn"
        ),
        pytest.param(view(A, B, stacked=("b",), running=("b",)), [], id="an urgent newcomer waits for the gate that runs"),
        pytest.param(view(A, stacked=("a",), known=(evidence("a", F),)), [StartGates(alone("a"), built("a"), 2)], id="red once: again"),
        pytest.param(view(A, stacked=("a",), known=(evidence("a", F, F),)), [Build(MAIN_ITSELF)], id="red twice: how is main?"),
        pytest.param(
            view(A, stacked=("a",), known=(evidence("a", F, F),), main_is_built=True),
            [StartGates(MAIN_ITSELF, Built(MAIN, MAIN_TREE), 1)],
            id="red twice: gate main itself",
        ),
        pytest.param(
            view(A, B, stacked=("a",), known=(evidence("a", F, F),), main_is_built=True, running=("",), free_slots=5),
            [],
            id="main's gates run",
        ),
        pytest.param(
            view(A, B, stacked=("a",), known=(evidence("a", F, F), evidence("", P)), main_is_built=True),
            [Reject("a", MAIN, built("a").tree), Build(alone("b"))],
            id="red twice on green main: rejected, the next is stacked",
        ),
        pytest.param(
            view(A, stacked=("a",), known=(evidence("a", F, E, F), evidence("", P)), main_is_built=True),
            [Reject("a", MAIN, built("a").tree)],
            id="an error between two reds changes nothing",
        ),
        pytest.param(
            view(A, stacked=("a",), known=(evidence("a", F, F), evidence("", F)), main_is_built=True),
            [StartGates(MAIN_ITSELF, Built(MAIN, MAIN_TREE), 2)],
            id="main red once may be flaky too",
        ),
        pytest.param(
            view(A, B, stacked=("a",), known=(evidence("a", F, F), evidence("", F, F)), main_is_built=True),
            [HoldForMain("a", MAIN, built("a").tree, MAIN_TREE), Build(alone("b"))],
            id="main is red: nobody is rejected, the next may be the repair",
        ),
        pytest.param(view(A, B, conflicts=("a",)), [CONFLICT_A, Build(alone("b"))], id="a conflict comes back at once, for free"),
        pytest.param(
            view(A, stacked=("a",), known=(evidence("a", E),)), [StartGates(alone("a"), built("a"), 2)], id="a gate error is tried again"
        ),
        pytest.param(
            view(A, B, stacked=("a",), known=(evidence("a", E, E, E),)),
            [Hold("a", built("a").tree, 3), Build(alone("b"))],
            id="three gate errors: held, never rejected",
        ),
        pytest.param(
            view(entry("a", retry_time=2.5), stacked=("a",), known=(evidence("a", E, E, E),)),
            [StartGates(alone("a"), built("a"), 4)],
            id="errors before a person asked again do not count",
        ),
        pytest.param(
            view(A, stacked=("a",), known=(evidence("a", F, F), evidence("", E, E, E)), main_is_built=True),
            [Hold("a", MAIN_TREE, 3)],
            id="main's own gates can not speak",
        ),
    ],
)
def test_the_plan(seen: QueueView, decisions: list[Decision]) -> None:
    assert plan(seen) == decisions


def test_a_red_on_an_older_main_counts_as_the_first_strike() -> None:
    before = Evidence(GATES, "e1" * 20, (Attempt(1, F, "e2" * 20, "e3" * 20, ("a",)),))
    seen = view(A, stacked=("a",), known=(evidence("a", F), before, evidence("", P)), main_is_built=True)
    assert plan(seen) == [Reject("a", MAIN, built("a").tree)]


def test_strikes_count_reds_alone_and_not_on_a_base_that_is_red_itself() -> None:
    pair = Evidence(GATES, "e1" * 20, (Attempt(1, F, "e2" * 20, MAIN, ("a", "b")),))
    on_red = Evidence(GATES, "e4" * 20, (Attempt(1, F, "e5" * 20, "bad" + "0" * 37, ("b",)),))
    red_base = Evidence(GATES, "e6" * 20, (Attempt(1, F, "bad" + "0" * 37, "bad" + "0" * 37, ()),))
    assert count_strikes([evidence("a", F, E, F), pair, on_red, red_base]) == {"a": 2}


def test_order_is_priority_then_age_of_the_convoy_then_submission() -> None:
    urgent = entry("urgent", priority=0, convoy=9, submitted=9)
    old_convoy = entry("old-convoy", convoy=1, submitted=8)
    early, late = entry("early", convoy=5, submitted=5), entry("late", convoy=5, submitted=6)
    assert in_order([late, old_convoy, early, urgent]) == [urgent, old_convoy, early, late]


_VERDICTS = st.lists(st.sampled_from([P, F, E]), max_size=4)
_NAMES = ("a", "b", "c")


@st.composite
def _views(draw: st.DrawFn) -> QueueView:
    names = draw(st.sets(st.sampled_from(_NAMES)))
    entries = [entry(name, priority=draw(st.integers(0, 4)), submitted=draw(st.integers(0, 3))) for name in sorted(names)]
    stacked = draw(st.sets(st.sampled_from(_NAMES)))
    conflicts = draw(st.sets(st.sampled_from(_NAMES))) - stacked
    known = tuple(evidence(name, *draw(_VERDICTS)) for name in ("", *_NAMES))
    running = draw(st.sets(st.sampled_from(("", *_NAMES)), max_size=2))
    return view(
        *entries,
        stacked=tuple(stacked),
        conflicts=tuple(conflicts),
        known=known,
        running=tuple(running),
        free_slots=draw(st.integers(0, 3)),
        main_is_built=draw(st.booleans()),
    )


@given(_views())
def test_law_every_decision_is_backed_by_what_was_seen(seen: QueueView) -> None:
    decisions = plan(seen)
    assert decisions == plan(dataclasses.replace(seen, entries=list(reversed(seen.entries))))
    waiting = {each.name for each in seen.entries}
    for decision in decisions:
        match decision:
            case Land(candidate, made):
                assert seen.evidence[made.tree].is_green
                assert set(candidate.members) <= waiting
            case StartGates(_, made, attempt):
                assert seen.free_slots > 0
                assert made.tree not in seen.running
                assert not seen.evidence[made.tree].is_green
                assert all(each.number != attempt for each in seen.evidence[made.tree].attempts)
            case Reject(member, _, tree):
                assert seen.evidence[MAIN_TREE].is_green
                assert seen.evidence[tree].reds >= 1
                assert not seen.evidence[tree].is_green
                assert max(seen.strikes[member], seen.evidence[tree].reds) >= 2
            case Hold(_, tree, errors):
                assert seen.evidence[tree].errors_since(0) == errors >= 3
            case ReturnConflict(member, _, _):
                assert isinstance(seen.built[alone(member)], Conflict)
    assert sum(isinstance(decision, Land | StartGates | Build) for decision in decisions) <= 1


@given(_views())
def test_law_the_queue_never_waits_for_nothing(seen: QueueView) -> None:
    """An empty plan has a cause: nothing waits, a gate runs, or no slot is free."""
    if not plan(seen):
        assert not seen.entries or seen.running or seen.free_slots == 0

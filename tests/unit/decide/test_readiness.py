"""May this bead start, and if not, what holds it back?"""

from __future__ import annotations

from typing import Any

import pytest

from gastown.api.bead import UNDISPATCHED_TYPES, Bead, Dependency, DependencyOutcome
from gastown.api.convoy import ConvoyStatus
from gastown.decide.dependencies import Neighbours
from gastown.decide.readiness import Readiness, Verdict, judge
from support import build
from support.build import NOON


def seen(bead: Bead, *others: Bead, children: tuple[Bead, ...] = (), **fields: Any) -> Readiness:
    """The bead in rig greeter, among others; `children` are those of gp-2."""
    known = {other.metadata.name: other for other in (*others, *children)}
    given: dict[str, Any] = {"neighbours": Neighbours(known, {"gp-2": children}), "rig": build.rig(), **fields}
    return Readiness(bead, **given)


def on(other: str, type_: str, **metadata: str) -> Dependency:
    return Dependency(id=other, type=type_, metadata=metadata)


OPEN = build.bead("gp-2")
CLOSED = build.bead("gp-2", state="closed", closeReason="answered")
CLOSED_AS_FAILURE = build.bead("gp-2", state="closed", closeReason="Won't fix: nobody needs it")
LANDED = build.bead("gp-2", landed=True)
GIVEN_UP = build.bead("gp-2", phase="Failed")
SKIPPED = build.bead("gp-2", state="closed", closeReason="skipped: gp-9 did not fail")
CHILD_OPEN = build.bead("gp-2.1", parent="gp-2")
CHILD_CLOSED = build.bead("gp-2.2", parent="gp-2", state="closed")


@pytest.mark.parametrize(
    ("type_", "other", "expected"),
    [
        pytest.param("blocks", OPEN, "Blocked", id="blocks waits for an open bead"),
        pytest.param("blocks", GIVEN_UP, "Blocked", id="blocks waits for a bead that was given up, for it may be retried"),
        pytest.param("blocks", CLOSED, "Startable", id="blocks is content with closed"),
        pytest.param("blocks", CLOSED_AS_FAILURE, "Startable", id="blocks is content with closed as failure"),
        pytest.param("blocks", LANDED, "Startable", id="blocks is content with landed"),
        pytest.param("blocks", SKIPPED, "Startable", id="skipped counts as done for blocks"),
        pytest.param("merge-blocks", CLOSED, "Blocked", id="merge-blocks is not content with closed"),
        pytest.param("merge-blocks", LANDED, "Startable", id="merge-blocks is content with landed"),
        pytest.param("merge-blocks", SKIPPED, "Startable", id="skipped counts as done for merge-blocks"),
        pytest.param("conditional-blocks", OPEN, "Blocked", id="conditional-blocks waits for an open bead"),
        pytest.param("conditional-blocks", CLOSED_AS_FAILURE, "Startable", id="conditional-blocks starts when the other failed"),
        pytest.param("conditional-blocks", GIVEN_UP, "Startable", id="conditional-blocks starts when the other was given up"),
        pytest.param("conditional-blocks", LANDED, "Skipped", id="conditional-blocks is skipped when the other landed"),
        pytest.param("conditional-blocks", SKIPPED, "Skipped", id="conditional-blocks is skipped when the other was skipped"),
        pytest.param("waits-for", OPEN, "Blocked", id="waits-for waits while children may yet be spawned"),
        pytest.param("waits-for", CLOSED, "Startable", id="waits-for is content with a closed bead without children"),
        pytest.param("related", OPEN, "Startable", id="other types only inform"),
    ],
)
def test_a_dependency_holds_back_by_its_type(type_: str, other: Bead, expected: str) -> None:
    assert judge(seen(build.bead(dependencies=[on("gp-2", type_)]), other), NOON).reason == expected


@pytest.mark.parametrize(
    ("gate", "children", "expected"),
    [
        pytest.param("all-children", (CHILD_CLOSED, CHILD_OPEN), "Blocked", id="all: one is open"),
        pytest.param("all-children", (CHILD_CLOSED,), "Startable", id="all: all are closed"),
        pytest.param("any-children", (CHILD_CLOSED, CHILD_OPEN), "Startable", id="any: one is closed"),
        pytest.param("any-children", (CHILD_OPEN,), "Blocked", id="any: none is closed"),
    ],
)
def test_waits_for_looks_at_all_or_any_children(gate: str, children: tuple[Bead, ...], expected: str) -> None:
    waiter = build.bead(dependencies=[on("gp-2", "waits-for", gate=gate)])
    assert judge(seen(waiter, OPEN, children=children), NOON).reason == expected


def test_an_unknown_dependency_blocks_and_is_named() -> None:
    verdict = judge(seen(build.bead(waits_for=["GP-ZZ9"])), NOON)
    assert verdict == Verdict(
        "UnknownDependency",
        "depends on gp-zz9, which nobody knows; create it, or remove the dependency",
        is_blocked=True,
        blocked_by=("gp-zz9",),
        dependencies=(DependencyOutcome(id="gp-zz9", outcome="Unknown"),),
    )


def test_a_recorded_outcome_survives_the_blocker() -> None:
    waiter = build.bead(waits_for=["gp-2"], status={"dependencies": [DependencyOutcome(id="gp-2", outcome="Succeeded")]})
    verdict = judge(seen(waiter), NOON)
    assert verdict.startable
    assert verdict.dependencies == (DependencyOutcome(id="gp-2", outcome="Succeeded"),)


def test_what_was_pending_when_it_vanished_is_unknown() -> None:
    waiter = build.bead(waits_for=["gp-2"], status={"dependencies": [DependencyOutcome(id="gp-2", outcome="Pending")]})
    assert judge(seen(waiter), NOON).reason == "UnknownDependency"


def test_what_the_ledger_knows_as_retired_counts_as_done() -> None:
    assert judge(seen(build.bead(waits_for=["gp-2"], status={"retired": ["gp-2"]})), NOON).startable


def test_a_blocker_that_reopens_blocks_again_though_its_success_was_recorded() -> None:
    waiter = build.bead(waits_for=["gp-2"], status={"dependencies": [DependencyOutcome(id="gp-2", outcome="Succeeded")]})
    assert judge(seen(waiter, OPEN), NOON).blocked_by == ("gp-2",)


PARENT = build.bead("gp-2", waits_for=["gp-3"])
DEFERRED_PARENT = build.bead("gp-2", deferUntil="2025-06-15T15:07:40Z")


@pytest.mark.parametrize(
    ("child", "parent", "expected"),
    [
        pytest.param(build.bead(parent="gp-2"), PARENT, "ParentBlocked", id="child by its spec"),
        pytest.param(build.bead(dependencies=[on("gp-2", "parent-child")]), PARENT, "ParentBlocked", id="child by an edge"),
        pytest.param(build.bead("gp-2.1"), PARENT, "ParentBlocked", id="child by its ID"),
        pytest.param(build.bead(parent="gp-2"), build.bead("gp-2", state="deferred"), "ParentBlocked", id="parent is deferred"),
        pytest.param(build.bead(parent="gp-2"), DEFERRED_PARENT, "ParentBlocked", id="parent is deferred until later"),
        pytest.param(
            build.bead(parent="gp-2"), build.bead("gp-2", waits_for=["gp-3"], state="closed"), "Startable", id="parent was closed"
        ),
        pytest.param(build.bead(parent="gp-2"), OPEN, "Startable", id="parent is merely open"),
        pytest.param(build.bead(parent="gp-2"), CLOSED, "Startable", id="parent is closed"),
        pytest.param(build.bead(parent="gp-7"), OPEN, "Startable", id="parent left the cluster"),
    ],
)
def test_children_of_a_blocked_or_deferred_parent_are_not_startable(child: Bead, parent: Bead, expected: str) -> None:
    assert judge(seen(child, parent, build.bead("gp-3")), NOON).reason == expected


def test_the_clock_alone_ends_the_deferral_of_a_parent() -> None:
    child = build.bead(parent="gp-2")
    assert judge(seen(child, DEFERRED_PARENT), NOON).wake_after_seconds == 60.0
    assert judge(seen(child, DEFERRED_PARENT), NOON + 60).startable
    assert judge(seen(child, PARENT, build.bead("gp-3")), NOON).wake_after_seconds is None


def test_grandchildren_of_a_blocked_bead_are_not_startable() -> None:
    middle = build.bead("gp-2.1")
    assert judge(seen(build.bead("gp-2.1.1"), middle, PARENT, build.bead("gp-3")), NOON).blocked_by == ("gp-2.1",)


def test_parents_in_a_ring_do_not_hang_the_decision() -> None:
    one, two = build.bead("gp-2", parent="gp-3"), build.bead("gp-3", parent="gp-2")
    assert judge(seen(build.bead(parent="gp-2"), one, two), NOON).startable


FAILED_CONVOY = build.convoy(failurePolicy="Stop", status=ConvoyStatus(phase="Failed"))


@pytest.mark.parametrize(
    ("bead", "fields", "expected", "is_blocked"),
    [
        pytest.param(build.bead(state="pinned"), {}, "Pinned", False, id="pinned"),
        pytest.param(build.bead(state="deferred"), {}, "Deferred", False, id="deferred by a person"),
        pytest.param(build.bead(deferUntil="2025-06-15T16:00:00Z"), {}, "Deferred", False, id="deferred until later"),
        pytest.param(build.bead(deferUntil="2025-06-15T14:00:00Z"), {}, "Startable", False, id="deferred until a time that passed"),
        pytest.param(build.bead(deferUntil="soon"), {}, "Startable", False, id="a time that is no time counts as none"),
        pytest.param(build.bead("xx-1"), {"knows_prefix": False}, "UnknownPrefix", True, id="prefix of no rig"),
        pytest.param(build.bead(type="message"), {}, "NotDispatched", False, id="type that is never dispatched"),
        pytest.param(build.bead("hq-1"), {"rig": None}, "NoRig", True, id="the town's own, for no rig"),
        pytest.param(build.bead(rigName="gone"), {"rig": None}, "NoRig", True, id="rig that does not exist"),
        pytest.param(build.bead(), {"convoys": (build.convoy(paused=True),)}, "ConvoyPaused", True, id="convoy paused"),
        pytest.param(build.bead(), {"convoys": (build.convoy(cancelled=True),)}, "Cancelled", True, id="convoy cancelled"),
        pytest.param(build.bead(), {"convoys": (FAILED_CONVOY,)}, "MemberFailed", True, id="convoy stops at its first failure"),
        pytest.param(
            build.bead(),
            {"convoys": (build.convoy(status=ConvoyStatus(phase="Failed")), build.convoy("other", failurePolicy="Stop"))},
            "Startable",
            False,
            id="convoy goes on after a failure, another has none",
        ),
        pytest.param(build.bead(), {"session_ends": True}, "Stopping", True, id="former session still ends"),
        pytest.param(build.bead(), {"cycle": ("gp-1", "gp-2")}, "DependencyCycle", True, id="ring of dependencies"),
    ],
)
def test_a_bead_waits_for_people_places_and_times(bead: Bead, fields: dict[str, Any], expected: str, is_blocked: bool) -> None:
    verdict = judge(seen(bead, **fields), NOON)
    assert (verdict.reason, verdict.is_blocked) == (expected, is_blocked)


def test_the_clock_alone_ends_a_deferral() -> None:
    bead = build.bead(deferUntil="2025-06-15T15:07:40Z")
    assert judge(seen(bead), NOON).wake_after_seconds == 60.0
    assert judge(seen(bead), NOON + 60).startable


def test_wishes_are_told_before_what_people_must_heal_and_that_before_what_passes() -> None:
    bead = build.bead("xx-1", waits_for=["gp-2"])
    order = [judge(seen(bead, OPEN, **fields), NOON).reason for fields in ({"knows_prefix": False}, {"rig": None}, {})]
    assert order == ["UnknownPrefix", "NoRig", "Blocked"]
    wish = build.bead("xx-1", waits_for=["gp-2"], state="deferred")
    assert judge(seen(wish, OPEN, knows_prefix=False), NOON).reason == "Deferred"


@pytest.mark.parametrize("type_", sorted(UNDISPATCHED_TYPES))
def test_beads_that_are_no_work_are_never_dispatched(type_: str) -> None:
    verdict = judge(seen(build.bead(type=type_)), NOON)
    assert verdict == Verdict("NotDispatched", f"beads of type {type_} are never given to an agent")


@pytest.mark.parametrize(
    ("bead", "fields", "words"),
    [
        pytest.param(build.bead("xx-1"), {"knows_prefix": False}, "no Rig has the prefix xx; create one", id="prefix of no rig"),
        pytest.param(build.bead("lonely"), {"knows_prefix": False}, "no Rig has the prefix (none)", id="no prefix at all"),
        pytest.param(build.bead(rigName="gone"), {"rig": None}, "Rig gone does not exist; create it", id="rig does not exist"),
        pytest.param(build.bead("hq-1"), {"rig": None}, "set spec.rigName", id="the town's own"),
        pytest.param(
            build.bead(waits_for=[f"gp-{number}" for number in range(30, 55)]),
            {},
            "gp-49 and 5 more, which nobody knows",
            id="many unknown",
        ),
    ],
)
def test_the_message_says_what_to_do(bead: Bead, fields: dict[str, Any], words: str) -> None:
    assert words in judge(seen(bead, **fields), NOON).message


def test_blockers_that_are_known_are_listed_beside_those_that_are_not() -> None:
    verdict = judge(seen(build.bead(waits_for=["gp-2", "gp-8"]), OPEN), NOON)
    assert (verdict.reason, verdict.blocked_by) == ("UnknownDependency", ("gp-2", "gp-8"))


def test_an_edge_named_twice_counts_once() -> None:
    verdict = judge(seen(build.bead(waits_for=["gp-2", "GP-2"]), OPEN), NOON)
    assert verdict.dependencies == (DependencyOutcome(id="gp-2", outcome="Pending"),)


def test_the_same_bead_may_block_in_two_ways() -> None:
    bead = build.bead(dependencies=[on("gp-2", "blocks"), on("gp-2", "merge-blocks")])
    verdict = judge(seen(bead, CLOSED), NOON)
    assert [(item.type, item.outcome) for item in verdict.dependencies] == [("blocks", "Succeeded"), ("merge-blocks", "Pending")]
    assert verdict.blocked_by == ("gp-2",)


@pytest.mark.parametrize(
    ("type_", "outcome", "expected"),
    [
        pytest.param("conditional-blocks", "Failed", "Startable", id="it failed"),
        pytest.param("conditional-blocks", "Succeeded", "Skipped", id="it did not fail"),
        pytest.param("merge-blocks", "Succeeded", "Startable", id="it landed"),
        pytest.param("merge-blocks", "Skipped", "Startable", id="it was skipped"),
        pytest.param("blocks", "Failed", "Startable", id="it was closed as failure"),
        pytest.param("waits-for", "Succeeded", "Startable", id="its children were closed"),
        pytest.param("waits-for", "Pending", "UnknownDependency", id="its children were open"),
        pytest.param("blocks", "Unknown", "UnknownDependency", id="it was unknown before"),
    ],
)
def test_what_was_recorded_decides_when_the_other_left_the_cluster(type_: str, outcome: str, expected: str) -> None:
    recorded = {"dependencies": [DependencyOutcome(id="gp-2", type=type_, outcome=outcome)]}
    assert judge(seen(build.bead(dependencies=[on("gp-2", type_)], status=recorded)), NOON).reason == expected


def test_an_outcome_recorded_for_another_type_of_edge_does_not_count() -> None:
    recorded = {"dependencies": [DependencyOutcome(id="gp-2", type="blocks", outcome="Succeeded")]}
    assert judge(seen(build.bead(dependencies=[on("gp-2", "merge-blocks")], status=recorded)), NOON).reason == "UnknownDependency"


def test_a_ring_is_named_in_order() -> None:
    verdict = judge(seen(build.bead(waits_for=["gp-2"]), build.bead("gp-2", waits_for=["gp-1"]), cycle=("gp-1", "gp-2")), NOON)
    assert verdict.message == "these wait for each other: gp-1 -> gp-2 -> gp-1; remove one of the dependencies, or a parent"


def test_a_failure_is_told_by_how_the_close_reason_begins() -> None:
    waiter = build.bead(dependencies=[on("gp-2", "conditional-blocks")])
    success = build.bead("gp-2", state="closed", closeReason="fixed the failed test")
    assert judge(seen(waiter, success), NOON).reason == "Skipped"

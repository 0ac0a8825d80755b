"""Rings that do not stand in one field: through parents, children and waits-for; named where they are, and only where there is one."""

from __future__ import annotations

from typing import Any

import pytest

from gastown.api.bead import Bead, Dependency
from gastown.controllers.bead import BeadWiring
from gastown.controllers.stores import Stores, make_stores
from gastown.decide import readiness
from support import build
from support.build import NOON


def waits_for_children(of: str, gate: str = "") -> list[Dependency]:
    return [Dependency(id=of, type="waits-for", metadata={"gate": gate} if gate else {})]


def ring_of(name: str, *others: Bead) -> tuple[str, ...]:
    """The ring that is named on a bead, and what the reason is told to be."""
    stores = holding(*others)
    seen = BeadWiring(stores, {}).observe(("town", name))
    assert seen is not None
    verdict = readiness.judge(seen.readiness, NOON)
    assert (verdict.reason == "DependencyCycle") == bool(seen.readiness.cycle)
    return seen.readiness.cycle


def holding(*values: Bead) -> Stores:
    stores = make_stores()
    stores.rigs.put(build.rig())
    for bead in values:
        stores.beads.put(bead)
    return stores


RINGS: dict[str, tuple[str, list[Bead], set[str]]] = {
    "two": ("gp-1", [build.bead("gp-1", waits_for=["gp-2"]), build.bead("gp-2", waits_for=["gp-1"])], {"gp-1", "gp-2"}),
    "a parent that waits for its child": ("gp-1", [build.bead("gp-1", waits_for=["gp-1.1"]), build.bead("gp-1.1")], {"gp-1", "gp-1.1"}),
    "a child whose parent waits for it": ("gp-1.1", [build.bead("gp-1", waits_for=["gp-1.1"]), build.bead("gp-1.1")], {"gp-1", "gp-1.1"}),
    "a grandchild": (
        "gp-1.1.1",
        [build.bead("gp-1", waits_for=["gp-1.1.1"]), build.bead("gp-1.1"), build.bead("gp-1.1.1")],
        {"gp-1", "gp-1.1", "gp-1.1.1"},
    ),
    "a child that waits for all its siblings": (
        "gp-1.1",
        [build.bead("gp-1"), build.bead("gp-1.1", dependencies=waits_for_children("gp-1")), build.bead("gp-1.2")],
        {"gp-1.1"},
    ),
    "children that wait for whoever waits for them": (
        "gp-5",
        [build.bead("gp-1"), build.bead("gp-1.1", waits_for=["gp-5"]), build.bead("gp-5", dependencies=waits_for_children("gp-1"))],
        {"gp-1.1", "gp-5"},
    ),
    "a named parent": (
        "gp-2",
        [build.bead("gp-1", waits_for=["gp-2"]), build.bead("gp-2", parent="gp-1")],
        {"gp-1", "gp-2"},
    ),
    "parents of each other": ("gp-1", [build.bead("gp-1", parent="gp-2"), build.bead("gp-2", parent="gp-1")], {"gp-1", "gp-2"}),
    "across rigs and convoys": (
        "gp-1",
        [
            build.bead("gp-1", waits_for=["hq-2"], meta={"labels": {"gastown.dev/convoy": "one"}}),
            build.bead("hq-2", waits_for=["gp-1"], meta={"labels": {"gastown.dev/convoy": "two"}}),
        ],
        {"gp-1", "hq-2"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "beads", "expected"), RINGS.values(), ids=RINGS)
def test_a_ring_is_named(name: str, beads: list[Bead], expected: set[str]) -> None:
    found = ring_of(name, *beads)
    assert (found[0], set(found)) == (name, expected)


NO_RINGS: dict[str, tuple[str, list[Bead]]] = {
    "a child that waits for its parent": ("gp-1.1", [build.bead("gp-1"), build.bead("gp-1.1", waits_for=["gp-1"])]),
    "a bead that waits for children": (
        "gp-5",
        [build.bead("gp-1"), build.bead("gp-1.1"), build.bead("gp-5", dependencies=waits_for_children("gp-1"))],
    ),
    "a ring that a closed bead opens": (
        "gp-1",
        [build.bead("gp-1", waits_for=["gp-2"]), build.bead("gp-2", waits_for=["gp-1"], state="closed")],
    ),
    "children that are done, whatever their parent waits for": (
        "gp-5",
        [
            build.bead("gp-1", waits_for=["gp-5"]),
            build.bead("gp-1.1", state="closed", delivery="None"),
            build.bead("gp-5", dependencies=waits_for_children("gp-1")),
        ],
    ),
    "any child will do": (
        "gp-5",
        [
            build.bead("gp-1"),
            build.bead("gp-1.1", waits_for=["gp-5"]),
            build.bead("gp-1.2"),
            build.bead("gp-5", dependencies=waits_for_children("gp-1", "any-children")),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "beads"), NO_RINGS.values(), ids=NO_RINGS)
def test_what_is_no_ring_is_not_called_one(name: str, beads: list[Bead]) -> None:
    assert ring_of(name, *beads) == ()


def test_all_in_a_ring_through_a_parent_are_woken_when_it_closes() -> None:
    stores = holding(build.bead("gp-1", waits_for=["gp-2"]), build.bead("gp-2"))
    woken: set[str] = set()

    class Controller:
        def enqueue(self, *keys: tuple[str, str]) -> None:
            woken.update(name for _, name in keys)

    controller: Any = Controller()
    BeadWiring(stores, {}).wire(controller)
    stores.beads.put(build.bead("gp-2", parent="gp-1"))
    assert woken >= {"gp-1", "gp-2"}


def test_a_bead_with_hundreds_of_blockers_that_have_hundreds_each_is_looked_at_within_bounds() -> None:
    beads = [build.bead(f"gp-{number}", waits_for=[f"gp-{other}" for other in range(number - 256, number)]) for number in range(256, 600)]
    stores = holding(*beads)
    looked: list[str] = []
    find = stores.beads.find

    def counted(namespace: str, name: str) -> Bead | None:
        looked.append(name)
        return find(namespace, name)

    stores.beads.find = counted  # type: ignore[method-assign]
    BeadWiring(stores, {}).observe(("town", "gp-599"))
    assert len(looked) < 2000

"""Rings that do not stand in one field: through parents, children and waits-for; named where they are, and only where there is one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from gastown.api import kinds
from gastown.api.bead import Bead, Dependency
from gastown.controllers.bead import BeadWiring
from gastown.controllers.stores import Stores, make_stores
from gastown.decide import readiness
from support import build
from support.build import NOON
from support.simulated_town import SimulatedTown


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


@pytest.fixture
def town() -> Iterator[SimulatedTown]:
    made = SimulatedTown()
    yield made
    made.close()


def startable(town: SimulatedTown, name: str) -> str:
    """The reason that is told of a bead."""
    told = town.status(kinds.BEAD, name).get("conditions", [])
    return next((str(condition["reason"]) for condition in told if condition["type"] == "Startable"), "")


@pytest.mark.parametrize("length", [2, 3, 20, 100])
def test_all_of_a_ring_are_told_when_it_closes_and_when_it_opens(town: SimulatedTown, length: int) -> None:
    town.found()
    names = [f"gp-{number}" for number in range(length)]
    for name, other in itertools.pairwise(names):
        town.players.create(kinds.BEAD, name, {"title": "x", "dependencies": [{"id": other, "type": "blocks"}]})
    town.players.create(kinds.BEAD, names[-1], {"title": "x", "state": "deferred"})
    town.run_to_rest()
    assert {startable(town, name) for name in names[:-1]} == {"Blocked"}
    closing = [{"id": names[0], "type": "blocks"}]
    town.api.patch(kinds.BEAD, names[-1], {"spec": {"dependencies": closing, "state": "open"}})
    town.run_to_rest()
    assert {startable(town, name) for name in names} == {"DependencyCycle"}
    assert town.look_at_everything() == []
    town.api.patch(kinds.BEAD, names[length // 2], {"spec": {"dependencies": []}})
    for _ in range(3):  # what was put off is told a few seconds later
        town.settle()
        town.advance(6)
    assert "DependencyCycle" not in {startable(town, name) for name in names}


def test_a_ring_through_a_parent_is_told_to_all_when_it_closes(town: SimulatedTown) -> None:
    town.found()
    town.players.create(kinds.BEAD, "gp-1", {"title": "x", "dependencies": [{"id": "gp-2", "type": "blocks"}]})
    town.players.create(kinds.BEAD, "gp-2", {"title": "x", "state": "deferred"})
    town.run_to_rest()
    town.api.patch(kinds.BEAD, "gp-2", {"spec": {"parent": "gp-1", "state": "open"}})
    town.run_to_rest()
    assert (startable(town, "gp-1"), startable(town, "gp-2")) == ("DependencyCycle", "DependencyCycle")


def test_a_listing_of_beads_that_wait_for_each_other_in_a_long_row_is_taken_without_walking_the_row() -> None:
    stores, looked = make_stores(), []
    find = stores.beads.find

    def counted(namespace: str, name: str) -> Bead | None:
        looked.append(name)
        return find(namespace, name)

    class Controller:
        def enqueue(self, *keys: tuple[str, str]) -> None:
            assert len(keys) < 10

    controller: Any = Controller()
    stores.beads.find = counted  # type: ignore[method-assign]
    BeadWiring(stores, {}).wire(controller)
    for number in range(1000):
        stores.beads.put(build.bead(f"gp-{number}", waits_for=[f"gp-{number + 1}", f"gp-{number + 2}"]))
    assert len(looked) < 5000


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

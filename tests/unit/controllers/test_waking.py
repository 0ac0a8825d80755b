"""Which change wakes which key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gastown.actions import Key
from gastown.api.bead import Dependency
from gastown.controllers.bead import BeadWiring
from gastown.controllers.convoy import LARGE, ConvoyWiring
from gastown.controllers.dispatch import LONG_BACKLOG, DispatchWiring
from gastown.controllers.heartbeats import Heartbeats
from gastown.controllers.session import SessionWiring
from gastown.controllers.stores import Stores, make_stores
from gastown.decide.session_pod import SessionSettings
from support import build


class Woken:
    """Stands for a controller and remembers who was woken."""

    def __init__(self) -> None:
        self.now: set[str] = set()
        self.later: set[str] = set()

    def enqueue(self, *keys: Key) -> None:
        self.now.update(name for _, name in keys)

    def enqueue_after(self, key: Key, seconds: float) -> None:
        assert seconds > 0
        self.later.add(key[1])


@pytest.fixture
def stores() -> Stores:
    return make_stores()


def woken(wire: Callable[[Any], None], act: Callable[[], Any]) -> Woken:
    """Who is woken by one change."""
    controller = Woken()
    wire(controller)
    act()
    return controller


def beads(stores: Stores, act: Callable[[], Any]) -> set[str]:
    return woken(BeadWiring(stores, {}).wire, act).now


class TestBeads:
    def test_a_bead_that_closes_wakes_those_that_wait_for_it_and_their_children(self, stores: Stores) -> None:
        for bead in (build.bead("gp-1"), build.bead("gp-2", waits_for=["gp-1"]), build.bead("gp-2.1"), build.bead("gp-3")):
            stores.beads.put(bead)
        assert beads(stores, lambda: stores.beads.put(build.bead("gp-1", state="closed"))) == {"gp-1", "gp-2", "gp-2.1"}

    def test_a_child_wakes_those_that_wait_for_the_children_of_its_parent(self, stores: Stores) -> None:
        waits = [Dependency(id="gp-1", type="waits-for")]
        for bead in (build.bead("gp-1"), build.bead("gp-9", dependencies=waits)):
            stores.beads.put(bead)
        assert "gp-9" in beads(stores, lambda: stores.beads.put(build.bead("gp-1.1")))

    def test_a_new_edge_wakes_both_its_ends_of_which_one_tells_the_others_of_a_ring(self, stores: Stores) -> None:
        for bead in (build.bead("gp-1"), build.bead("gp-2", waits_for=["gp-1"]), build.bead("gp-9")):
            stores.beads.put(bead)
        assert beads(stores, lambda: stores.beads.put(build.bead("gp-1", waits_for=["gp-2"]))) == {"gp-1", "gp-2"}

    def test_a_new_note_wakes_nobody_else(self, stores: Stores) -> None:
        for bead in (build.bead("gp-1"), build.bead("gp-2", waits_for=["gp-1"])):
            stores.beads.put(bead)
        assert beads(stores, lambda: stores.beads.put(build.bead("gp-1", notes="hm"))) == {"gp-1"}

    def test_a_paused_convoy_wakes_its_members(self, stores: Stores) -> None:
        for value in (build.bead("gp-1"), build.bead("gp-2", meta={"labels": {"gastown.dev/convoy": "moods"}}), build.bead("gp-3")):
            stores.beads.put(value)
        stores.convoys.put(build.convoy(beads=["gp-1"]))
        paused = build.at_generation(build.convoy(beads=["gp-1"], paused=True), 2)
        assert beads(stores, lambda: stores.convoys.put(paused)) == {"gp-1", "gp-2"}

    def test_a_new_rig_wakes_all_open_beads_for_their_prefix_may_be_known_now(self, stores: Stores) -> None:
        for bead in (build.bead("gp-1"), build.bead("gp-2", state="closed")):
            stores.beads.put(bead)
        assert beads(stores, lambda: stores.rigs.put(build.rig())) == {"gp-1"}

    def test_a_request_wakes_its_bead(self, stores: Stores) -> None:
        assert beads(stores, lambda: stores.merge_requests.put(build.merge_request("gp-7"))) == {"gp-7"}

    def test_a_session_wakes_its_bead(self, stores: Stores) -> None:
        assert beads(stores, lambda: stores.pods.put(build.session_pod(bead_name="gp-7"))) == {"gp-7"}

    def test_a_binding_that_is_only_assumed_is_not_decided_on(self, stores: Stores) -> None:
        stores.beads.put(build.bead("gp-1", phase="Ready"))
        stores.agents.put(build.agent())
        stores.beads.assume(build.held_bead("gp-1"), until=1e12)
        assert BeadWiring(stores, {}).observe(("town", "gp-1")) is None
        seen = SessionWiring(stores, SessionSettings("http://repo", "image"), Heartbeats(stores, (), lambda: 0.0)).observe(
            ("town", "greeter-nux")
        )
        assert seen is not None
        assert seen.beads == ()
        assert DispatchWiring(stores).observe(("town", "town")) is None, "it is taken for the dispatcher"


def test_a_binding_wakes_its_agent_and_an_unbinding_too(stores: Stores) -> None:
    stores.agents.put(build.agent())
    wiring = SessionWiring(stores, SessionSettings("http://repo", "image"), Heartbeats(stores, (), lambda: 0.0))
    assert woken(wiring.wire, lambda: stores.beads.put(build.held_bead())).now == {"greeter-nux"}
    assert woken(wiring.wire, lambda: stores.beads.put(build.bead("gp-1"))).now == {"greeter-nux"}


def test_a_foreign_pod_of_an_agents_name_is_not_taken_for_its_session(stores: Stores) -> None:
    stores.agents.put(build.agent())
    stores.pods.put(build.pod("greeter-nux", container="agent"))
    seen = SessionWiring(stores, SessionSettings("http://repo", "image"), Heartbeats(stores, (), lambda: 0.0)).observe(
        ("town", "greeter-nux")
    )
    assert seen is not None
    assert seen.pod is None


def test_a_long_backlog_is_planned_a_few_times_a_second(stores: Stores) -> None:
    wiring = DispatchWiring(stores)
    assert woken(lambda it: wiring.wire(it, lambda _: None), lambda: stores.agents.put(build.agent("greeter-a"))).now == {"town"}
    for number in range(LONG_BACKLOG + 1):
        stores.beads.put(build.bead(f"gp-{number}", phase="Ready"))
    wiring.observe(("town", "town"))
    after = woken(lambda it: wiring.wire(it, lambda _: None), lambda: stores.agents.put(build.agent("greeter-b")))
    assert (after.now, after.later) == (set(), {"town"})


@pytest.mark.parametrize(("size", "expected"), [pytest.param(2, {"moods"}, id="small"), pytest.param(LARGE + 1, set(), id="large")])
def test_a_landing_is_told_at_once_unless_the_convoy_is_large(stores: Stores, size: int, expected: set[str]) -> None:
    names = [f"gp-{number}" for number in range(size)]
    stores.convoys.put(build.convoy(beads=names))
    stores.beads.put(build.bead("gp-1", phase="Submitted"))
    after = woken(ConvoyWiring(stores).wire, lambda: stores.beads.put(build.bead("gp-1", landed=True)))
    assert after.now == expected
    assert after.later == {"moods"} - expected

"""Which startable bead goes to which agent?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.actions import Bind, Create, Single, Together
from gastown.api.agent import Agent, AgentRecord
from gastown.api.rig import NamePool
from gastown.decide import dispatch
from gastown.decide.dispatch import DispatchSeen
from gastown.decide.name_pool import THEMES, free_names
from support import build

EARLIER = "2025-06-15T14:00:00Z"


def seen(*startable: Any, **fields: Any) -> DispatchSeen:
    """A town with rig greeter (at most 2 polecats), nobody hired yet."""
    rig = fields.pop("rig", build.rig(maxPolecats=2))
    agents = {agent.metadata.name: agent for agent in fields.pop("agents", ())}
    given: dict[str, Any] = {
        "namespace": "town",
        "town": build.town(),
        "rigs": {rig.metadata.name: rig},
        "rig_of_prefix": {rig.spec.prefix: rig},
        "profiles": {"apprentice": build.profile(), "expert": build.profile("expert")},
        **fields,
    }
    return DispatchSeen(agents=agents, startable=startable, **given)


def ready(name: str = "gp-1", **fields: Any) -> Any:
    return build.bead(name, phase="Ready", **fields)


def chains(what: DispatchSeen) -> tuple[tuple[Single, ...], ...]:
    """What is decided: all bindings at the same time."""
    return tuple(chain for action in dispatch.decide(what, build.NOON) if isinstance(action, Together) for chain in action.chains)


def bindings(what: DispatchSeen) -> dict[str, str]:
    """Bead -> agent."""
    return {action.object.metadata.name: action.assignee for chain in chains(what) for action in chain if isinstance(action, Bind)}


def hired(what: DispatchSeen) -> list[Agent]:
    made = [action.object for chain in chains(what) for action in chain if isinstance(action, Create)]
    return [agent for agent in made if isinstance(agent, Agent)]


def waiting(what: DispatchSeen, name: str = "gp-1") -> str:
    return dispatch.plan(what).waiting[name][0]


def test_a_bead_gets_a_new_agent_from_the_name_pool() -> None:
    what = seen(ready())
    (agent,) = hired(what)
    assert (agent.metadata.name, agent.spec.rigName, agent.spec.role) == ("greeter-furiosa", "greeter", "polecat")
    assert bindings(what) == {"gp-1": "greeter-furiosa"}


def test_an_agent_is_made_before_the_binding_that_needs_it() -> None:
    decided = chains(seen(ready("gp-1"), ready("gp-2")))
    assert [[type(action) for action in chain] for chain in decided] == [[Create, Bind], [Create, Bind]]


def test_an_idle_agent_is_taken_before_a_new_one_is_hired() -> None:
    what = seen(ready(), agents=[build.agent()])
    assert (bindings(what), hired(what)) == ({"gp-1": "greeter-nux"}, [])


def test_rework_goes_to_the_agent_that_knows_it() -> None:
    agents = [build.agent("greeter-ace"), build.agent("greeter-nux")]
    assert bindings(seen(ready(status={"agentName": "greeter-nux"}), agents=agents)) == {"gp-1": "greeter-nux"}


def test_the_profile_asked_for_decides_among_idle_agents() -> None:
    agents = [build.agent("greeter-ace"), build.agent("greeter-nux", profileName="expert")]
    assert bindings(seen(ready(profileName="expert"), agents=agents)) == {"gp-1": "greeter-nux"}


def test_an_agent_for_the_profile_is_hired_before_another_kind_of_agent_is_taken() -> None:
    (agent,) = hired(seen(ready(profileName="expert"), agents=[build.agent()]))
    assert agent.spec.profileName == "expert"


def test_any_idle_agent_does_when_no_more_may_be_hired() -> None:
    agents = [build.agent("greeter-ace"), build.agent("greeter-nux")]
    what = seen(ready(profileName="expert"), agents=agents)
    assert (bindings(what), hired(what)) == ({"gp-1": "greeter-ace"}, [])


def test_beads_go_in_order_of_convoy_age_then_priority_then_age() -> None:
    old, young = build.convoy("old", meta={"creationTimestamp": "2025-06-01T00:00:00Z"}), build.convoy("young")
    beads = [
        ready("gp-1", priority=0, createdTime="2025-06-02T00:00:00Z"),
        ready("gp-2", priority=3),
        ready("gp-3", priority=1, createdTime="2025-06-03T00:00:00Z"),
        ready("gp-4", priority=1, createdTime="2025-06-01T00:00:00Z"),
    ]
    convoys = {"gp-1": (young,), "gp-2": (old,), "gp-3": (old, young), "gp-4": (old,)}
    order = sorted(beads, key=lambda bead: dispatch.order_key(bead, convoys[bead.metadata.name]))
    assert [bead.metadata.name for bead in order] == ["gp-4", "gp-3", "gp-2", "gp-1"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(ready("gp-9", meta={"creationTimestamp": EARLIER}), ready("gp-1"), id="its own age when it is in no convoy"),
        pytest.param(ready("gp-9", priority=0), ready("gp-1", priority=4), id="priority 0 is the most urgent"),
        pytest.param(ready("gp-9", createdTime=EARLIER), ready("gp-1"), id="the time it was first created, also in another town"),
        pytest.param(ready("gp-1"), ready("gp-9"), id="its name when all else is the same"),
    ],
)
def test_with_one_free_agent_the_first_in_order_gets_it(first: Any, second: Any) -> None:
    for order in ((first, second), (second, first)):
        what = seen(*order, rig=build.rig(maxPolecats=1))
        assert list(bindings(what)) == [first.metadata.name]
        assert waiting(what, second.metadata.name) == "NoCapacity"


def test_an_agent_is_never_given_two_beads() -> None:
    what = seen(ready("gp-1"), ready("gp-2"), ready("gp-3"))
    assert sorted(bindings(what).values()) == ["greeter-furiosa", "greeter-nux"]
    assert waiting(what, "gp-3") == "NoCapacity"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"town": build.town(stopped=True)}, "EmergencyStop", id="emergency stop"),
        pytest.param({"rig": build.rig(suspend=True)}, "Suspended", id="rig is suspended"),
        pytest.param({"rig": build.rig(ready=False)}, "RigNotReady", id="rig is not Ready"),
        pytest.param({"rigs": {}, "rig_of_prefix": {}}, "NoRig", id="rig is gone"),
        pytest.param({"rig": build.rig(profileName="")}, "NoProfile", id="no profile is named anywhere"),
        pytest.param({"profiles": {}}, "NoProfile", id="profile does not exist"),
        pytest.param({"town": build.town(max_polecats=0)}, "NoCapacity", id="town is full"),
        pytest.param({"rig": build.rig(maxPolecats=0)}, "NoCapacity", id="rig is full"),
        pytest.param(
            {
                "convoys": {"gp-1": (build.convoy(maxPolecats=1),), "gp-9": (build.convoy(maxPolecats=1),)},
                "held": (build.held_bead("gp-9"),),
            },
            "NoCapacity",
            id="convoy is full",
        ),
        pytest.param({"agents": [build.agent(name, suspend=True) for name in ("greeter-a", "greeter-b")]}, "NoAgent", id="all suspended"),
    ],
)
def test_what_is_not_bound_waits_for_a_reason(fields: dict[str, Any], expected: str) -> None:
    what = seen(ready(), **fields)
    assert bindings(what) == {}
    assert waiting(what) == expected


def test_an_agent_whose_bead_is_submitted_is_free() -> None:
    submitted = build.held_bead("gp-9", phase="Submitted")
    assert bindings(seen(ready(), agents=[build.agent()], held=(submitted,))) == {"gp-1": "greeter-nux"}


def test_an_agent_whose_pod_has_not_ended_is_not_free() -> None:
    what = seen(ready(), rig=build.rig(maxPolecats=1), agents=[build.agent()], occupied=frozenset({"greeter-nux"}))
    assert bindings(what) == {}


@pytest.mark.parametrize(
    "agent",
    [
        pytest.param(build.agent(role="crew"), id="of a person's crew"),
        pytest.param(build.agent(retired=True), id="retired"),
        pytest.param(build.agent(suspend=True), id="suspended"),
        pytest.param(build.agent(meta={"deletionTimestamp": build.NOON_TEXT}), id="being deleted"),
        pytest.param(build.agent(rigName="other"), id="of another rig"),
    ],
)
def test_who_is_not_the_rigs_own_idle_polecat_gets_no_bead_though_it_held_it_before(agent: Agent) -> None:
    what = seen(ready(status={"agentName": "greeter-nux"}), agents=[agent])
    assert bindings(what) == {"gp-1": "greeter-furiosa"}


def test_who_failed_last_comes_last_and_who_landed_most_comes_first() -> None:
    agents = [
        build.agent("greeter-a", status={"attempts": 1, "cv": AgentRecord(landed=9)}),
        build.agent("greeter-b"),
        build.agent("greeter-c", status={"cv": AgentRecord(landed=1)}),
    ]
    what = seen(ready("gp-1"), ready("gp-2"), ready("gp-3"), rig=build.rig(maxPolecats=3), agents=agents)
    assert bindings(what) == {"gp-1": "greeter-c", "gp-2": "greeter-b", "gp-3": "greeter-a"}


def test_two_rigs_share_the_towns_capacity_and_have_their_own() -> None:
    rigs = {"greeter": build.rig(maxPolecats=1), "other": build.rig("other", prefix="ot", maxPolecats=2)}
    beads = (ready("gp-1"), ready("gp-2"), ready("ot-1"), ready("ot-2"))
    what = seen(*beads, rigs=rigs, rig_of_prefix={"gp": rigs["greeter"], "ot": rigs["other"]}, town=build.town(max_polecats=2))
    assert bindings(what) == {"gp-1": "greeter-furiosa", "ot-1": "other-furiosa"}
    full = dispatch.plan(what).waiting
    assert full == {
        "gp-2": ("NoCapacity", "Rig greeter has maxPolecats 1 agents at work"),
        "ot-2": ("NoCapacity", "the Town has capacity.maxPolecats agents at work"),
    }


def test_the_rig_a_bead_names_wins_over_its_prefix() -> None:
    rigs = {"greeter": build.rig(), "other": build.rig("other", prefix="ot")}
    what = seen(ready("gp-1", rigName="other"), rigs=rigs, rig_of_prefix={"gp": rigs["greeter"]})
    assert bindings(what) == {"gp-1": "other-furiosa"}


def test_the_beads_of_one_plan_fill_their_convoy() -> None:
    small = build.convoy(maxPolecats=1)
    what = seen(ready("gp-1"), ready("gp-2"), convoys={"gp-1": (small,), "gp-2": (small,)})
    assert (list(bindings(what)), waiting(what, "gp-2")) == (["gp-1"], "NoCapacity")


def test_a_person_who_holds_a_bead_takes_no_capacity() -> None:
    what = seen(ready(), rig=build.rig(maxPolecats=1), held=(build.held_bead("gp-9", "alice"),))
    assert bindings(what) == {"gp-1": "greeter-furiosa"}


def test_a_retired_agents_name_is_never_given_again() -> None:
    (agent,) = hired(seen(ready(), agents=[build.agent("greeter-furiosa", retired=True)]))
    assert agent.metadata.name == "greeter-nux"


def test_names_come_from_the_rigs_list_then_its_theme_then_numbers() -> None:
    rig = build.rig(namePool=NamePool(theme="minerals", names=["ada", "mayor"]))
    names = free_names(rig, {"greeter-ada"})
    assert next(names) == "greeter-quartz"
    rest = [next(names) for _ in range(len(THEMES["minerals"]))]
    assert rest[-1] == f"greeter-{len(THEMES['minerals']) + 3}"


def test_a_name_that_no_pod_could_carry_is_passed_over() -> None:
    rig = build.rig("g" * 55, namePool=NamePool(names=["a-name-too-long", "ada"]))
    assert next(free_names(rig, {})) == f"{'g' * 55}-ada"


@given(
    wanted=st.lists(st.sampled_from(["", "apprentice", "expert"]), max_size=8),
    hired_before=st.integers(0, 4),
    busy=st.sets(st.integers(0, 3)),
    town_capacity=st.integers(0, 5),
    rig_capacity=st.integers(0, 5),
)
def test_capacity_is_never_exceeded_and_nobody_is_bound_twice(
    wanted: list[str], hired_before: int, busy: set[int], town_capacity: int, rig_capacity: int
) -> None:
    agents = [build.agent(f"greeter-{number}") for number in range(hired_before)]
    held = tuple(build.held_bead(f"gp-h{number}", f"greeter-{number}") for number in sorted(busy) if number < hired_before)
    beads = [ready(f"gp-{number}", profileName=profile) for number, profile in enumerate(wanted)]
    rig = build.rig(maxPolecats=rig_capacity)
    what = seen(*beads, rig=rig, agents=agents, held=held, town=build.town(max_polecats=town_capacity))
    bound = bindings(what)
    taken = {bead.spec.assignee for bead in held}
    assert len(set(bound.values())) == len(bound)
    assert not taken & set(bound.values())
    assert len(bound) + len(taken) <= max(min(town_capacity, rig_capacity), len(taken))
    assert len(agents) + len(hired(what)) <= max(rig_capacity, len(agents))
    assert set(bound) | set(dispatch.plan(what).waiting) == {bead.metadata.name for bead in beads}

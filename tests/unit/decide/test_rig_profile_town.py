"""Quiet kinds: is this rig ready, is this profile accepted, what is in this town?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gastown.actions import Action, Emit, SetStatus
from gastown.api import conditions
from gastown.api.rig import Rig, gate_digest
from gastown.api.town import TownStatus
from gastown.decide import profile, rig, town
from gastown.decide.profile import ProfileSeen
from gastown.decide.rig import RigSeen
from gastown.decide.town import TownSeen
from support import build
from support.build import NOON

OLDER = {"creationTimestamp": "2025-06-01T00:00:00Z"}
NO_REPOSITORY = dataclasses.replace(build.rig(), status=dataclasses.replace(build.rig().status, conditions=[]))
FETCH_FAILED = dataclasses.replace(
    build.rig(),
    status=dataclasses.replace(
        build.rig().status, conditions=[build.condition("RepositoryReady", "False", "FetchFailed", "could not resolve host")]
    ),
)


def patch_of(what: RigSeen) -> dict[str, Any]:
    (action,) = rig.decide(what, NOON)
    assert isinstance(action, SetStatus)
    return dict(action.status)


def ready(patch: dict[str, Any]) -> tuple[str, str]:
    (found,) = [condition for condition in patch["conditions"] if condition["type"] == "Ready"]
    return found["status"], found["reason"]


@pytest.mark.parametrize(
    ("subject", "fields", "expected", "phase"),
    [
        pytest.param(build.rig(), {}, ("True", "Accepted"), "Ready", id="ready"),
        pytest.param(build.rig(suspend=True), {}, ("True", "Accepted"), "Suspended", id="suspended"),
        pytest.param(NO_REPOSITORY, {}, ("False", "WaitingForRepository"), "Pending", id="no repository yet"),
        pytest.param(FETCH_FAILED, {}, ("False", "FetchFailed"), "Pending", id="the refinery could not adopt it"),
        pytest.param(build.rig(gates=[]), {}, ("False", "NoGates"), "Stalled", id="nothing guards main"),
        pytest.param(build.rig(), {"others": (build.rig("first", meta=OLDER),)}, ("False", "PrefixTaken"), "Stalled", id="prefix taken"),
        pytest.param(build.rig(meta=OLDER), {"others": (build.rig("second"),)}, ("True", "Accepted"), "Ready", id="oldest keeps it"),
        pytest.param(build.rig(), {"profiles": {}}, ("False", "UnknownProfile"), "Pending", id="its profile does not exist"),
        pytest.param(build.rig(profileName=""), {}, ("True", "Accepted"), "Ready", id="no profile of its own"),
    ],
)
def test_a_rig_is_ready_when_work_on_it_could_land(subject: Rig, fields: dict[str, Any], expected: tuple[str, str], phase: str) -> None:
    given: dict[str, Any] = {"profiles": {"apprentice": build.profile()}, **fields}
    patch = patch_of(RigSeen(subject, **given))
    assert (ready(patch), patch["phase"]) == (expected, phase)


def test_the_refinerys_part_of_a_rig_is_passed_on() -> None:
    patch = patch_of(RigSeen(build.rig(), profiles={"apprentice": build.profile()}))
    assert "head" not in patch
    assert "queue" not in patch
    assert [condition["type"] for condition in patch["conditions"]] == ["RepositoryReady", "Ready"]
    assert patch["gateDigest"] == gate_digest([build.gate()])


def test_polecats_are_counted() -> None:
    agents = (build.agent("greeter-a", phase="Working"), build.agent("greeter-b"), build.agent("greeter-c", retired=True))
    patch = patch_of(RigSeen(build.rig(), agents=agents))
    assert (patch["polecats"], patch["activePolecats"]) == (2, 1)


def test_only_polecats_count_and_only_those_with_a_session_are_active() -> None:
    phases = ("Idle", "Starting", "Working", "Stopping", "Suspended")
    agents = [build.agent(f"greeter-{phase.lower()}", phase=phase) for phase in phases]
    patch = patch_of(RigSeen(build.rig(), agents=(*agents, build.agent("greeter-ann", role="crew", phase="Working"))))
    assert (patch["polecats"], patch["activePolecats"]) == (5, 3)


def test_a_prefix_belongs_to_the_oldest_rig_and_to_the_first_by_name_among_twins() -> None:
    old, twin, other = build.rig("z", meta=OLDER), build.rig("y", meta=OLDER), build.rig("a")
    for order in ((old, twin, other), (other, twin, old)):
        assert rig.owner_of_prefix(order)["gp"].metadata.name == "y"
    (refused,) = [condition for condition in patch_of(RigSeen(other, others=(old, twin)))["conditions"] if condition["type"] == "Stalled"]
    assert refused["message"] == "prefix gp belongs to Rig y, which is older; recreate this Rig with another prefix"


def test_a_rig_that_was_healed_is_not_stalled_any_more() -> None:
    stalled = [build.condition("RepositoryReady"), build.condition("Ready", "False", "NoGates"), build.condition("Stalled")]
    healed = dataclasses.replace(build.rig(), status=dataclasses.replace(build.rig().status, conditions=stalled))
    patch = patch_of(RigSeen(healed, profiles={"apprentice": build.profile()}))
    assert [condition["type"] for condition in patch["conditions"]] == ["RepositoryReady", "Ready"]


@pytest.mark.parametrize(
    ("said", "is_news"),
    [
        pytest.param({"gateDigest": gate_digest([build.gate()])}, False, id="nothing new"),
        pytest.param({"gateDigest": "0" * 64}, True, id="gates changed"),
        pytest.param({"conditions": [build.condition("RepositoryReady")]}, True, id="new"),
        pytest.param({"conditions": [build.condition("RepositoryReady"), build.condition("Ready", "False", "NoGates")]}, True, id="healed"),
    ],
)
def test_news_of_a_rig_are_told_at_once_and_counts_when_there_is_time(said: dict[str, Any], is_news: bool) -> None:
    status = dataclasses.replace(build.rig().status, **{"gateDigest": gate_digest([build.gate()]), **said})
    (action,) = rig.decide(RigSeen(dataclasses.replace(build.rig(), status=status), profiles={"apprentice": build.profile()}), NOON)
    assert isinstance(action, SetStatus)
    assert action.roll_up is not is_news


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, ("True", "Accepted"), id="sound"),
        pytest.param({"command": []}, ("False", "Invalid"), id="shell without a command"),
        pytest.param({"adapter": "claude", "command": []}, ("True", "Accepted"), id="an adapter knows its program"),
        pytest.param({"adapter": "wizard"}, ("False", "Invalid"), id="unknown adapter"),
    ],
)
def test_a_profile_is_accepted_or_told_what_is_wrong(spec: dict[str, Any], expected: tuple[str, str]) -> None:
    (action,) = profile.decide(ProfileSeen(build.profile(**spec)), NOON)
    assert isinstance(action, SetStatus)
    found = conditions.find_condition(action.status.conditions, "Ready")
    assert found is not None
    assert (found.status, found.reason) == expected
    assert (conditions.find_condition(action.status.conditions, "Stalled") is not None) == (expected[0] == "False")


def town_status(actions: list[Action]) -> TownStatus:
    (status,) = [action.status for action in actions if isinstance(action, SetStatus)]
    assert isinstance(status, TownStatus)
    return status


def test_a_town_counts_what_is_in_it() -> None:
    seen = TownSeen(build.town(), rigs=1, beads_by_phase={"Ready": 3, "Working": 2, "Landed": 5}, agents_by_phase={"Working": 2, "Idle": 1})
    counts = town_status(town.decide(seen, NOON)).counts
    assert (counts.openBeads, counts.readyBeads, counts.hookedBeads, counts.closedBeads) == (5, 3, 2, 5)
    assert (counts.agents, counts.workingAgents) == (3, 2)


def test_an_emergency_stop_is_told_as_phase_condition_and_event() -> None:
    running = dataclasses.replace(build.town(stopped=True), status=TownStatus(phase="Running"))
    actions = town.decide(TownSeen(running), NOON)
    status = town_status(actions)
    assert status.phase == "Stopped"
    assert conditions.is_false(status.conditions, "Progressing")
    assert [action.reason for action in actions if isinstance(action, Emit)] == ["EmergencyStop"]
    thawed = dataclasses.replace(build.town(), status=status)
    thaw = town.decide(TownSeen(thawed), NOON)
    assert conditions.find_condition(town_status(thaw).conditions, "Progressing") is None
    assert [action.reason for action in thaw if isinstance(action, Emit)] == ["Thawed"]


def test_a_stop_that_was_told_and_a_town_that_is_new_make_no_event() -> None:
    told = dataclasses.replace(build.town(stopped=True), status=TownStatus(phase="Stopped"))
    for subject in (told, build.town(), build.town(stopped=True)):
        assert [action for action in town.decide(TownSeen(subject), NOON) if isinstance(action, Emit)] == []


def test_the_stop_says_who_wanted_it_and_how_to_go_on() -> None:
    found = conditions.find_condition(town_status(town.decide(TownSeen(build.town(stopped=True)), NOON)).conditions, "Progressing")
    assert found == build.condition(
        "Progressing", "False", "EmergencyStop", "emergency stop: drill; set spec.emergencyStop.mode Inactive to go on"
    )

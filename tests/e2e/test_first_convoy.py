"""The thread, whole: what a user applies lands on a gated main, by the real API server, chart, operator, refinery and sessions."""

from __future__ import annotations

import pytest

from support.cluster import Cluster
from support.eventually import eventually
from support.example_convoy import DIAMOND, REWORKED, ExampleTown, documents


@pytest.fixture
def town(town_cluster: Cluster) -> ExampleTown:
    return ExampleTown(town_cluster)


def test_one_bead_goes_from_kubectl_apply_to_a_gated_commit_on_main(town: ExampleTown) -> None:
    town.make_upstream("single")
    rig, profile, convoy = documents("single", "sg", "unused")
    town.apply([rig, profile])
    template = next(template for template in convoy["spec"]["templates"] if template["name"] == "moods")
    spec = {"title": template["title"], "description": template["description"], "rigName": "single"}
    town.apply([{"apiVersion": "gastown.dev/v1alpha1", "kind": "Bead", "metadata": {"name": "sg-1"}, "spec": spec}])
    town.wait_landed("bead/sg-1")
    (bead,) = [item for item in town.items("beads") if item["metadata"]["name"] == "sg-1"]
    assert (bead["spec"]["state"], bead["spec"].get("assignee", "")) == ("closed", "")
    assert town.main_log("single")[0] == "Land sg-1: Add moods to choose from"


@pytest.fixture(scope="module")
def landed(town_cluster: Cluster) -> ExampleTown:
    """The town in which the whole example has landed under the name `six`."""
    town = ExampleTown(town_cluster)
    town.make_upstream("six")
    town.apply(documents("six", "sx", "six"))
    town.wait_landed("convoy/six")
    eventually(lambda: len(landings(town, "six")) == len(DIAMOND) + len(REWORKED), 60, "all of it is published")
    return town


def landings(town: ExampleTown, rig: str) -> list[str]:
    return [subject for subject in town.main_log(rig) if subject.startswith("Land ")]


def test_six_beads_land_and_the_conflicting_and_the_red_one_come_back_once_each(landed: ExampleTown) -> None:
    town = landed
    beads = town.by_local_name("six")
    reworks = {name: bead["status"].get("reworks", 0) for name, bead in beads.items()}
    assert reworks == dict.fromkeys(DIAMOND, 0) | dict.fromkeys(REWORKED, 1)
    assert {name: beads[name]["status"]["lastRework"]["reason"] for name in REWORKED} == REWORKED
    assert {bead["status"].get("attempts", 0) for bead in beads.values()} == {0}
    # Each was turned away for the reason it was made to be, and what it needs to begin again is told.
    conflict, red = (beads[name]["status"]["lastRework"] for name in ("strangers", "good-day"))
    assert (conflict["files"], len(conflict["hunks"])) == (["greeter/__init__.py"], 1)
    assert "return mood(f" in conflict["hunks"][0]["text"]
    assert "{name or 'stranger'}" in conflict["hunks"][0]["text"]
    assert (red["gate"], red["exitCode"]) == ("unit-tests", 1)
    assert "'Good day, Ada.' != 'Hello, Ada.'" in red["logTail"]
    assert {town.is_ancestor("six", rework["base"], "main") for rework in (conflict, red)} == {True}
    # Rework went on from the head that came back: both its commits are on main.
    assert {town.is_ancestor("six", rework["head"], "main") for rework in (conflict, red)} == {True}
    order = [
        name
        for subject in reversed(landings(town, "six"))
        for name, bead in beads.items()
        if subject.startswith(f"Land {bead['metadata']['name']}: ")
    ]
    assert sorted(order) == sorted(beads)
    assert order[0] == "moods"
    assert order.index("choir") > max(order.index("shout"), order.index("whisper"))


def test_each_first_parent_of_main_is_a_tree_that_passed_its_gates(landed: ExampleTown) -> None:
    runs = [run for run in landed.items("gateruns") if run["spec"]["rigName"] == "six"]
    verdicts = {(run["spec"]["tree"], run["status"]["phase"]) for run in runs}
    (adopted,) = [at for at, subject in enumerate(landed.main_log("six")) if subject == "Greet plainly"]
    assert adopted == len(DIAMOND) + len(REWORKED)
    assert {(tree, "Passed") for tree in landed.main_trees("six")[:adopted]} <= verdicts
    # Red was the work that broke a test, alone and twice, and nothing else: a main that had landed needed no proof.
    red = [run["spec"] for run in runs if run["status"]["phase"] == "Failed"]
    (request,) = {member for spec in red for member in spec["members"]}
    assert request.startswith(landed.by_local_name("six")["good-day"]["metadata"]["name"])
    assert [spec["members"] for spec in red] == [[request]] * 2


def test_the_same_convoy_with_other_names_in_shuffled_order_lands_too(town: ExampleTown) -> None:
    town.make_upstream("shuffled")
    town.apply(documents("shuffled", "sh", "shuffled", rename=lambda name: f"part-{name[::-1]}", reverse=True))
    town.wait_landed("convoy/shuffled")
    eventually(lambda: len(landings(town, "shuffled")) == len(DIAMOND) + len(REWORKED), 60, "all of it is published")
    back = {name: bead["status"]["reworks"] for name, bead in town.by_local_name("shuffled").items() if bead["status"].get("reworks")}
    assert back == {f"part-{name[::-1]}": 1 for name in REWORKED}


def test_applying_a_landed_convoy_again_changes_nothing(town: ExampleTown) -> None:
    town.make_upstream("again")
    wanted = documents("again", "ag", "again", only=DIAMOND)
    town.apply(wanted)
    town.wait_landed("convoy/again")
    before = town.main_log("again")
    beads = {item["metadata"]["name"] for item in town.items("beads")}
    town.apply(wanted)
    town.wait_landed("convoy/again")
    assert (town.main_log("again"), {item["metadata"]["name"] for item in town.items("beads")}) == (before, beads)


def test_agents_go_off_shift_when_the_work_is_done(landed: ExampleTown) -> None:
    eventually(lambda: not landed.items("pods", "gastown.dev/rig=six,gastown.dev/agent"), 60, "session pods are gone")

    def phases() -> list[str]:
        return [item["status"]["phase"] for item in landed.items("agents") if item["spec"]["rigName"] == "six"]

    eventually(lambda: set(phases()) == {"Idle"}, 60, "agents are idle")
    assert 1 <= len(phases()) <= 3

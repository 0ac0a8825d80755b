"""The thread, whole: what a user applies lands on a gated main, by the real API server, chart, operator, refinery and sessions."""

from __future__ import annotations

import pytest

from support.cluster import Cluster
from support.eventually import eventually
from support.example_convoy import ExampleTown, documents


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


def test_the_diamond_lands_in_the_order_of_its_edges(town: ExampleTown) -> None:
    town.make_upstream("diamond")
    town.apply(documents("diamond", "dm", "diamond"))
    town.wait_landed("convoy/diamond")
    titles = [line.partition(": ")[2] for line in reversed(town.main_log("diamond")) if line.startswith("Land ")]
    assert titles[0] == "Add moods to choose from"
    assert sorted(titles[1:3]) == ["Add the shouting mood", "Add the whispering mood"]
    assert titles[3] == "Let a choir greet in all moods"


def test_the_same_convoy_with_other_names_in_shuffled_order_lands_too(town: ExampleTown) -> None:
    town.make_upstream("shuffled")
    town.apply(documents("shuffled", "sh", "shuffled", rename=lambda name: f"part-{name[::-1]}", reverse=True))
    town.wait_landed("convoy/shuffled")
    assert len([line for line in town.main_log("shuffled") if line.startswith("Land ")]) == 4


def test_applying_a_landed_convoy_again_changes_nothing(town: ExampleTown) -> None:
    town.make_upstream("again")
    wanted = documents("again", "ag", "again")
    town.apply(wanted)
    town.wait_landed("convoy/again")
    before = town.main_log("again")
    beads = {item["metadata"]["name"] for item in town.items("beads")}
    town.apply(wanted)
    town.wait_landed("convoy/again")
    assert (town.main_log("again"), {item["metadata"]["name"] for item in town.items("beads")}) == (before, beads)


def test_agents_go_off_shift_when_the_work_is_done(town: ExampleTown) -> None:
    town.make_upstream("quiet")
    town.apply(documents("quiet", "qu", "quiet"))
    town.wait_landed("convoy/quiet")
    eventually(lambda: not town.items("pods", "gastown.dev/rig=quiet,gastown.dev/agent"), 60, "session pods are gone")

    def phases() -> list[str]:
        return [item["status"]["phase"] for item in town.items("agents") if item["spec"]["rigName"] == "quiet"]

    eventually(lambda: set(phases()) == {"Idle"}, 60, "agents are idle")
    assert 1 <= len(phases()) <= 2

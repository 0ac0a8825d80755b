"""The thread, whole: what a user applies lands on a gated main, by the real API server, chart, operator, refinery and sessions."""

from __future__ import annotations

import pytest

from gastown.local.town import RunningTown
from support.eventually import eventually
from support.example_convoy import TownClient, documents


@pytest.fixture
def client(town_cluster: RunningTown) -> TownClient:
    return TownClient(town_cluster)


def test_one_bead_goes_from_kubectl_apply_to_a_gated_commit_on_main(client: TownClient) -> None:
    client.make_upstream("single")
    rig, profile, convoy = documents("single", "sg", "unused")
    client.apply([rig, profile])
    template = next(template for template in convoy["spec"]["templates"] if template["name"] == "moods")
    spec = {"title": template["title"], "description": template["description"], "rigName": "single"}
    client.apply([{"apiVersion": "gastown.dev/v1alpha1", "kind": "Bead", "metadata": {"name": "sg-1"}, "spec": spec}])
    client.kubectl("wait", "--for=condition=Landed", "bead/sg-1", "--timeout=90s", timeout_seconds=120)
    (bead,) = [item for item in client.items("beads") if item["metadata"]["name"] == "sg-1"]
    assert (bead["spec"]["state"], bead["spec"].get("assignee", "")) == ("closed", "")
    assert client.main_log("single")[0] == "Land sg-1: Add moods to choose from"


def test_the_diamond_lands_in_the_order_of_its_edges(client: TownClient) -> None:
    client.make_upstream("diamond")
    client.apply(documents("diamond", "dm", "diamond"))
    client.wait_landed("diamond")
    titles = [line.partition(": ")[2] for line in reversed(client.main_log("diamond")) if line.startswith("Land ")]
    assert titles[0] == "Add moods to choose from"
    assert sorted(titles[1:3]) == ["Add the shouting mood", "Add the whispering mood"]
    assert titles[3] == "Let a choir greet in all moods"


def test_the_same_convoy_with_other_names_in_shuffled_order_lands_too(client: TownClient) -> None:
    client.make_upstream("shuffled")
    client.apply(documents("shuffled", "sh", "shuffled", rename=lambda name: f"part-{name[::-1]}", reverse=True))
    client.wait_landed("shuffled")
    assert len([line for line in client.main_log("shuffled") if line.startswith("Land ")]) == 4


def test_applying_a_landed_convoy_again_changes_nothing(client: TownClient) -> None:
    client.make_upstream("again")
    wanted = documents("again", "ag", "again")
    client.apply(wanted)
    client.wait_landed("again")
    before = client.main_log("again")
    beads = {item["metadata"]["name"] for item in client.items("beads")}
    client.apply(wanted)
    client.wait_landed("again")
    assert (client.main_log("again"), {item["metadata"]["name"] for item in client.items("beads")}) == (before, beads)


def test_agents_go_off_shift_when_the_work_is_done(client: TownClient) -> None:
    client.make_upstream("quiet")
    client.apply(documents("quiet", "qu", "quiet"))
    client.wait_landed("quiet")
    eventually(lambda: not client.items("pods", "gastown.dev/rig=quiet,gastown.dev/agent"), 60, "session pods are gone")

    def phases() -> list[str]:
        return [item["status"]["phase"] for item in client.items("agents") if item["spec"]["rigName"] == "quiet"]

    eventually(lambda: set(phases()) == {"Idle"}, 60, "agents are idle")
    assert 1 <= len(phases()) <= 2

"""Long runs: many beads at once, while the parts that carry them are killed."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any

import pytest

from support.cluster import Cluster
from support.example_convoy import ExampleTown, documents

pytestmark = pytest.mark.soak

BEADS = 30
KILLS = 8
LAND_SECONDS = 900
SYSTEM_PODS = ("app.kubernetes.io/component=operator", "app.kubernetes.io/component=repo")


def wide_convoy(rig: str) -> dict[str, Any]:
    """Thirty beads, each a page of its own; every third waits for the two before it."""
    templates: list[dict[str, Any]] = []
    for number in range(BEADS):
        template: dict[str, Any] = {"name": f"page-{number}", "title": f"Write page {number}", "description": f"Page {number}."}
        if number % 3 == 2:
            template["dependsOn"] = [f"page-{number - 1}", f"page-{number - 2}"]
        templates.append(template)
    spec = {"title": "Write a book", "defaults": {"rigName": rig}, "templates": templates}
    return {"apiVersion": "gastown.dev/v1alpha1", "kind": "Convoy", "metadata": {"name": rig}, "spec": spec}


@pytest.mark.timeout(1200)
def test_thirty_beads_land_although_operator_repo_pod_and_sessions_are_killed(town_cluster: Cluster) -> None:
    town = ExampleTown(town_cluster)
    town.make_upstream("book")
    rig, profile, _ = documents("book", "bk", "unused")
    profile["metadata"]["name"] = rig["spec"]["profileName"] = "writer"
    profile["spec"]["limits"]["attempts"] = 20  # the kills below are not the beads' fault
    town.apply([rig, profile, wide_convoy("book")])
    roll = random.Random(7)
    for _ in range(KILLS):
        time.sleep(2)  # the kills are to hit work under way, not to wait for anything
        selector = roll.choice((*SYSTEM_PODS, "gastown.dev/rig=book,gastown.dev/agent"))
        namespace = "gastown-system" if selector in SYSTEM_PODS else "town"
        town_cluster.kubectl("delete", "pod", "-n", namespace, "-l", selector, "--grace-period=1", "--wait=false")
    town.wait_landed("convoy/book", LAND_SECONDS)
    landed = [line for line in town.main_log("book") if line.startswith("Land ")]
    assert len(landed) == BEADS
    beads = [bead for bead in town.items("beads") if bead["spec"]["rigName"] == "book"]
    heads = [commit for bead in beads for commit in bead["status"]["landedCommits"]]
    assert len(set(heads)) == BEADS
    titles = [line.partition(": ")[2] for line in reversed(landed)]
    for number in itertools.islice(itertools.count(2, 3), BEADS // 3):
        position = titles.index(f"Write page {number}")
        assert titles.index(f"Write page {number - 1}") < position > titles.index(f"Write page {number - 2}")

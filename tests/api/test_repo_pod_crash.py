"""Refinery and repo-server on one volume, killed at random, alone or together, under a stream of work with conflicts and reds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gastown.api import kinds
from gastown.api.names import merge_request_name
from support.cluster import Cluster
from support.eventually import eventually
from support.git_server import Client
from support.landing_town import RED_FILE, LandingTown
from support.mortal import NEVER, Life
from support.mortal_refinery import refinery_life
from support.mortal_repo_server import arm_hooks, free_port, repo_server_life
from support.repeating import repeating

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

BEADS = 16
LAND_SECONDS = 600.0


class RepoPod:
    """Both processes; whichever dies is started again.

    Args:
        port: Of the repo-server.
    """

    def __init__(self, cluster: Cluster, town: LandingTown, folder: Path, port: int) -> None:
        arm_hooks(folder / "server", 0, with_children=False)
        self._makers: list[Callable[[], Life]] = [
            lambda: refinery_life(folder / "refinery", NEVER, cluster.configuration(), town.namespace, town.data, town.upstreams),
            lambda: repo_server_life(folder / "server", NEVER, town.data, port, town.namespace),
        ]
        self._lives = [make().start() for make in self._makers]
        self.deaths = 0

    def kill(self, which: list[int]) -> None:
        """SIGKILL these, and start them again."""
        for number in which:
            assert not self._lives[number].is_over(), self._lives[number].told()
            self._lives[number].kill()
            self.deaths += 1
        for number in which:
            self._lives[number] = self._makers[number]().start()

    @contextmanager
    def dying(self, dice: random.Random) -> Iterator[None]:
        """Kill at random moments in the length of the block."""
        with repeating(lambda: self.kill(dice.choice([[0], [1], [0, 1]])), lambda: dice.uniform(0.1, 2.0)):
            yield

    def close(self) -> None:
        """End both."""
        for life in self._lives:
            life.kill()


def file_of(number: int) -> str:
    """Every fourth change is red, and every fifth touches the file of the one before."""
    return RED_FILE if number % 4 == 3 else f"page-{number - (number % 5 == 4)}"


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", range(5))
def test_all_green_work_lands_once_though_the_repo_pod_dies_at_random(
    api_server: Cluster, namespace: str, tmp_path: Path, seed: int
) -> None:
    print(f"seed {seed}")
    town = LandingTown(api_server, namespace, tmp_path, BEADS)
    town.found()
    port = free_port()
    pod = RepoPod(api_server, town, tmp_path, port)
    try:
        with town.playing():
            eventually(town.is_adopted, 60)
            url = f"http://x:furiosa@127.0.0.1:{port}/{namespace}/greeter.git"
            client = Client(tmp_path / "furiosa", url)
            with pod.dying(random.Random(seed)):
                for number in range(BEADS):
                    hand_in(town, client, number)
                eventually(lambda: len(town.landings()) > BEADS // 2, LAND_SECONDS, "half of the work is on main")
            eventually(town.is_over, LAND_SECONDS, "every request is over")
        town.check_git()
        check_ends(town)
    finally:
        pod.close()
    print(f"seed {seed}: {pod.deaths} deaths")


def hand_in(town: LandingTown, client: Client, number: int) -> None:
    """What a session does: commit on the adopted main, push until it is in, ask for the landing."""
    bead = f"gp-{number}"
    client.run("checkout", "--quiet", "-B", bead, town.repository.refs.find("refs/upstream/main") or "")
    head = client.commit(file_of(number), f"by {bead}", f"Do {bead}")
    branch = f"polecat/greeter-furiosa/{bead}"
    eventually(lambda: client.run("push", "origin", f"+HEAD:refs/heads/{branch}", ok=False).exit_code == 0, 120, f"{bead} is pushed")
    town.request(merge_request_name(bead, head), bead, "greeter-furiosa", head, priority=number % 5)


def check_ends(town: LandingTown) -> None:
    """Red is rejected, of two on one file one lands, and all else lands."""
    phases = {mr["spec"]["beadName"]: mr["status"]["phase"] for mr in town.client.list_all(kinds.MERGE_REQUEST, town.namespace)}
    assert len(phases) == BEADS
    by_file: dict[str, list[str]] = {}
    for number in range(BEADS):
        by_file.setdefault(file_of(number), []).append(phases[f"gp-{number}"])
    reds = by_file.pop(RED_FILE)
    assert set(reds) <= {"Rejected", "Conflicted"}
    for file, ends in by_file.items():
        assert sorted(ends) in (["Landed"], ["Conflicted", "Landed"]), file
    assert len(town.landings()) == len(by_file)

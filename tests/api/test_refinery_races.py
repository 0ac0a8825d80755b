"""Two refineries on one volume, one of them perhaps with an old view: main, merge requests and upstream end as with one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gastown.api import kinds
from support.cluster import Cluster
from support.eventually import eventually
from support.landing_town import LandingTown
from support.mortal import LOG, NEVER, Life
from support.mortal_refinery import refinery_life

pytestmark = pytest.mark.cluster
DEADLINE_SECONDS = 180.0
WORK = {"gp-1": {"a": b"1"}, "gp-2": {"b": b"1"}, "gp-3": {"a": b"2"}, "gp-4": {"red": b"1"}, "gp-5": {"c": b"1"}}
PHASES = {"gp-1": "Landed", "gp-2": "Landed", "gp-3": "Conflicted", "gp-4": "Rejected", "gp-5": "Landed"}


@pytest.fixture
def town(api_server: Cluster, namespace: str, tmp_path: Path) -> Iterator[LandingTown]:
    made = LandingTown(api_server, namespace, tmp_path, len(WORK))
    made.found()
    with made.playing():
        yield made


@contextmanager
def refining(cluster: Cluster, town: LandingTown, folder: Path) -> Iterator[Life]:
    life = refinery_life(folder, NEVER, cluster.configuration(), town.namespace, town.data, town.upstreams).start()
    try:
        yield life
    finally:
        if not life.is_over():
            os.kill(life.pid, signal.SIGCONT)
            life.kill()


def submit_all(town: LandingTown) -> None:
    eventually(town.is_adopted, DEADLINE_SECONDS, "adopted")
    for priority, (bead, files) in enumerate(WORK.items()):
        town.submit(bead, files, priority)


def phases(town: LandingTown) -> dict[str, str]:
    requests = town.client.list_all(kinds.MERGE_REQUEST, town.namespace)
    return {mr["spec"]["beadName"]: mr.get("status", {}).get("phase", "") for mr in requests}


def landed(town: LandingTown) -> int:
    return sum(phase == "Landed" for phase in phases(town).values())


def waits(folder: Path) -> bool:
    """Whether this refinery has found another one on its volume."""
    log = folder / LOG
    return log.exists() and "waiting_for_other_refinery" in log.read_text()


@pytest.mark.timeout(600)
def test_of_two_refineries_on_a_volume_one_waits_and_goes_on_when_the_other_is_gone(
    api_server: Cluster, town: LandingTown, tmp_path: Path
) -> None:
    with refining(api_server, town, tmp_path / "first") as first:
        eventually(town.is_adopted, DEADLINE_SECONDS, "adopted")
        with refining(api_server, town, tmp_path / "second") as second:
            eventually(lambda: waits(tmp_path / "second"), DEADLINE_SECONDS, "the second one waits")
            submit_all(town)
            eventually(lambda: landed(town) >= 1, DEADLINE_SECONDS, "one landed")
            assert second.steps() == []
            first.kill()
            eventually(town.is_over, DEADLINE_SECONDS, "all over")
            assert not second.is_over(), second.told()
    assert phases(town) == PHASES
    town.check_git()


@pytest.mark.timeout(600)
def test_nobody_lands_beside_a_refinery_that_stands_still_and_it_goes_on_itself(
    api_server: Cluster, town: LandingTown, tmp_path: Path
) -> None:
    with refining(api_server, town, tmp_path / "stale") as stale:
        submit_all(town)
        eventually(lambda: landed(town) >= 1, DEADLINE_SECONDS, "one landed")
        os.kill(stale.pid, signal.SIGSTOP)
        with refining(api_server, town, tmp_path / "fresh") as fresh:
            eventually(lambda: waits(tmp_path / "fresh"), DEADLINE_SECONDS, "the fresh one waits")
            os.kill(stale.pid, signal.SIGCONT)
            eventually(town.is_over, DEADLINE_SECONDS, "all over")
            assert fresh.steps() == []
            assert not fresh.is_over(), fresh.told()
    assert phases(town) == PHASES
    town.check_git()

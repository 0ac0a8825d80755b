"""A refinery that is killed at any step of adoption, intake, gating, landing, publishing and telling: main and API end the same.

The refinery is the real process; API server, repository and upstream are real. A landing's steps are every ref, every commit and every
child process in git, and every write to the API server; it ends itself by SIGKILL right before or right after one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from support.cluster import Cluster
from support.end_state import differences
from support.eventually import eventually
from support.landing_town import LandingTown
from support.mortal import AFTER, BEFORE, NEVER, AtEachStep, AtRandom, AtStep, Doom, deaths_in
from support.mortal_refinery import refinery_life

pytestmark = pytest.mark.cluster

LIVES = 400
DEADLINE_SECONDS = 120.0
# Two land, one conflicts with the first, one is red.
WORK = {"gp-1": {"a": b"1"}, "gp-2": {"b": b"1"}, "gp-3": {"a": b"2"}, "gp-4": {"red": b"1"}}
PHASES = {"gp-1": "Landed", "gp-2": "Landed", "gp-3": "Conflicted", "gp-4": "Rejected"}
# More than there are.
STEPS = 90


def end_of(cluster: Cluster, namespace: str, folder: Path, dooms: Iterable[Doom]) -> dict[str, Any]:
    """Let the work come in under refineries that die one after the other."""
    town = LandingTown(cluster, namespace, folder, len(WORK))
    town.found()
    dooms = iter(dooms)
    with town.playing():
        live_until(cluster, town, folder, dooms, town.is_adopted)
        for priority, (bead, files) in enumerate(WORK.items()):
            town.submit(bead, files, priority)
        live_until(cluster, town, folder, dooms, town.is_over)
    town.check_git()
    return town.end_state()


def live_until(cluster: Cluster, town: LandingTown, folder: Path, dooms: Iterable[Doom], is_over: Callable[[], bool]) -> None:
    """One life after the other, until one of them sees the end; that one is killed too."""
    for doom in itertools.islice(dooms, LIVES):
        life = refinery_life(folder, doom, cluster.configuration(), town.namespace, town.data, town.upstreams).start()
        try:
            eventually(lambda life=life: life.is_over() or is_over(), DEADLINE_SECONDS, "death or the end")  # type: ignore[misc]
        except AssertionError as late:
            raise AssertionError(f"{late}\n{life.told()}") from late
        finally:
            survived = not life.is_over()
            life.kill()
        if survived:
            return
        assert life.was_killed(), life.told()
        if town.is_adopted():
            town.check_git()
    raise AssertionError(f"not at the end after {LIVES} lives; {life.told()}")


_undisturbed: list[dict[str, Any]] = []


def deaths_of(cluster: Cluster, namespace: str, folder: Path, dooms: Iterable[Doom]) -> int:
    """Compare a disturbed run with the undisturbed one; gives the number of deaths."""
    if not _undisturbed:
        _undisturbed.append(end_of(cluster, cluster.make_namespace(f"{namespace[:50]}-lived"), folder / "lived", itertools.repeat(NEVER)))
    (expected,) = _undisturbed
    found = end_of(cluster, namespace, folder / "died", dooms)
    assert differences(expected, found) == [], "what was there without deaths became something else with them"
    return deaths_in(folder / "died").total()


@pytest.mark.timeout(900)
def test_main_and_api_end_the_same_though_the_refinery_dies_before_and_after_each_step(
    api_server: Cluster, namespace: str, tmp_path: Path
) -> None:
    deaths = deaths_of(api_server, namespace, tmp_path, itertools.repeat(AtEachStep(times=1)))
    assert deaths > 60, "it was to die at each step"


def test_undisturbed_two_land_one_conflicts_and_one_is_rejected(api_server: Cluster, namespace: str, tmp_path: Path) -> None:
    """What the other tests compare with."""
    deaths_of(api_server, namespace, tmp_path, itertools.repeat(NEVER))
    requests = {name: value for name, value in _undisturbed[0].items() if name.startswith("MergeRequest/")}
    assert {value["spec"]["beadName"]: value["status"]["phase"] for value in requests.values()} == PHASES
    assert len(_undisturbed[0]["main"]) == 2
    assert _undisturbed[0]["published"]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_main_and_api_end_the_same_though_the_refinery_dies_twice_in_a_row_before_and_after_each_step(
    api_server: Cluster, namespace: str, tmp_path: Path
) -> None:
    assert deaths_of(api_server, namespace, tmp_path, itertools.repeat(AtEachStep(times=2))) > 130


@pytest.mark.soak
@pytest.mark.parametrize("side", [BEFORE, AFTER])
@pytest.mark.parametrize("number", range(1, STEPS))
def test_a_refinery_that_dies_twice_at_its_nth_step_changes_nothing(
    api_server: Cluster, namespace: str, tmp_path: Path, number: int, side: str
) -> None:
    dooms: Iterable[Doom] = itertools.chain([AtStep(number, side), AtStep(number, side)], itertools.repeat(NEVER))
    deaths_of(api_server, namespace, tmp_path, dooms)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_a_refinery_that_dies_at_random_changes_nothing(api_server: Cluster, namespace: str, tmp_path: Path, seed: int) -> None:
    lives = (AtRandom(seed * 1000 + life, odds=0.15) for life in itertools.count())
    print(f"seed {seed}: {deaths_of(api_server, namespace, tmp_path, lives)} deaths")

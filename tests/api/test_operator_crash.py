"""An operator that is killed at any of its writes, again and again, and the next one that goes on: the end is the same as without.

The operator is a process of its own and ends itself by SIGKILL, right before or right after a write; kubelet, sessions, Job controller and
refinery are played and live on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from gastown.api import kinds
from support.cluster import Cluster
from support.end_state import differences
from support.eventually import eventually
from support.mortal import AFTER, BEFORE, NEVER, AtEachStep, AtRandom, AtStep, Doom, deaths_in
from support.mortal_operator import operator_life
from support.returning_town import ReturningTown

pytestmark = pytest.mark.cluster

Story = Callable[[ReturningTown], Callable[[], bool]]
LIVES = 400
DEADLINE_SECONDS = 120.0

CONVOY = {
    "title": "Teach the greeter moods",
    "defaults": {"rigName": "greeter"},
    "templates": [
        {"name": "moods", "title": "Add moods"},
        {"name": "shout", "title": "Add shout", "dependsOn": ["moods"]},
        {"name": "choir", "title": "Add choir", "dependsOn": ["shout"]},
    ],
}
RETURNS = {"Add shout": ("Conflicted",), "Add choir": ("Rejected",)}
# More writes than a story has: a life that needs fewer ends well, and the case is the undisturbed one.
STEPS_OF_A_BEAD, STEPS_OF_A_CONVOY = 26, 90


def one_bead(town: ReturningTown) -> Callable[[], bool]:
    """Gives when the story is over."""
    town.found()
    town.bead("gp-1")
    return lambda: town.phase("gp-1") == "Landed" and is_all_told(town)


def convoy_with_returns(town: ReturningTown) -> Callable[[], bool]:
    """Three beads in a row; the second conflicts with main once, the third is red once."""
    town.found()
    town.convoy("moods", CONVOY)
    return lambda: town.phase("moods", kinds.CONVOY) == "Landed" and is_all_told(town)


def is_all_told(town: ReturningTown) -> bool:
    """Whether nothing is left to do, and the roll-ups, which come last, say so."""
    if not town.is_at_rest():
        return False
    told, rig = town.get(kinds.TOWN, "town")["status"], town.get(kinds.RIG, "greeter").get("status", {})
    beads = town.all(kinds.BEAD)
    sessions = sum(bead["status"].get("usage", {}).get("sessions", 0) for bead in beads)
    counts = told.get("counts", {})
    is_idle = not (counts.get("workingAgents") or counts.get("openBeads") or counts.get("runningConvoys") or rig.get("activePolecats"))
    return is_idle and counts.get("closedBeads") == len(beads) and told.get("usage", {}).get("sessions") == sessions


def end_of(cluster: Cluster, namespace: str, folder: Path, story: Story, dooms: Iterable[Doom]) -> dict[str, Any]:
    """Let the story happen under operators that die one after the other."""
    town = ReturningTown(cluster, namespace, RETURNS)
    is_over = story(town)
    with town.playing():
        for doom in itertools.islice(dooms, LIVES):
            life = operator_life(folder, doom, cluster.configuration(), namespace).start()
            try:
                eventually(lambda life=life: life.is_over() or is_over(), DEADLINE_SECONDS, f"death or the end of {story.__name__}")  # type: ignore[misc]
            except AssertionError as late:
                raise AssertionError(f"{late}\n{life.told()}") from late
            finally:
                survived = not life.is_over()
                life.kill()
            if survived:
                return town.end_state()
            assert life.was_killed(), life.told()
    raise AssertionError(f"{story.__name__} is not at its end after {LIVES} lives; {life.told()}")


_undisturbed: dict[str, dict[str, Any]] = {}


def undisturbed(cluster: Cluster, namespace: str, folder: Path, story: Story) -> dict[str, Any]:
    """The end under one operator that lives; found once per run."""
    if story.__name__ not in _undisturbed:
        _undisturbed[story.__name__] = end_of(cluster, cluster.make_namespace(f"{namespace[:50]}-lived"), folder / "lived", story, [NEVER])
    return _undisturbed[story.__name__]


def deaths_of(api_server: Cluster, namespace: str, folder: Path, story: Story, dooms: Iterable[Doom]) -> int:
    """Compare a disturbed run with the undisturbed one; gives the number of deaths."""
    expected = undisturbed(api_server, namespace, folder, story)
    found = end_of(api_server, namespace, folder / "died", story, dooms)
    assert differences(expected, found) == [], "what was there without deaths became something else with them"
    return deaths_in(folder / "died").total()


@pytest.mark.timeout(900)
def test_a_bead_ends_the_same_though_the_operator_dies_twice_before_and_twice_after_each_write(
    api_server: Cluster, namespace: str, tmp_path: Path
) -> None:
    deaths = deaths_of(api_server, namespace, tmp_path, one_bead, itertools.repeat(AtEachStep(times=2)))
    assert deaths > 50, "it was to die at each write"


@pytest.mark.timeout(900)
def test_a_convoy_with_rework_ends_the_same_though_the_operator_dies_before_and_after_each_write(
    api_server: Cluster, namespace: str, tmp_path: Path
) -> None:
    deaths = deaths_of(api_server, namespace, tmp_path, convoy_with_returns, itertools.repeat(AtEachStep(times=1)))
    assert deaths > 60, "it was to die at each write"


@pytest.mark.soak
@pytest.mark.parametrize("moment", [BEFORE, AFTER])
@pytest.mark.parametrize(
    ("story", "number"),
    [
        *(pytest.param(one_bead, number, id=f"a bead, write {number}") for number in range(1, STEPS_OF_A_BEAD)),
        *(pytest.param(convoy_with_returns, number, id=f"a convoy, write {number}") for number in range(1, STEPS_OF_A_CONVOY)),
    ],
)
def test_an_operator_that_dies_twice_at_its_nth_write_changes_nothing(
    api_server: Cluster, namespace: str, tmp_path: Path, story: Story, number: int, moment: str
) -> None:
    deaths_of(api_server, namespace, tmp_path, story, [AtStep(number, moment), AtStep(number, moment), NEVER])


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_an_operator_that_dies_at_random_changes_nothing(api_server: Cluster, namespace: str, tmp_path: Path, seed: int) -> None:
    lives = (AtRandom(seed * 1000 + life, odds=0.1) for life in itertools.count())
    print(f"seed {seed}: {deaths_of(api_server, namespace, tmp_path, convoy_with_returns, lives)} deaths")

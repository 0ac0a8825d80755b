"""A played town with more beads than agents, under operators that are processes of their own: what tests of races and outages share."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gastown.api import kinds
from gastown.kube.configuration import Configuration
from support.mortal import NEVER, Life
from support.mortal_operator import operator_life
from support.played_town import PlayedTown

BEADS = 10


@contextmanager
def operating(played: PlayedTown, folder: Path, where: Configuration | None = None) -> Iterator[Life]:
    """An operator as a process of its own.

    Args:
        where: Another way to the API server.
    """
    life = operator_life(folder, NEVER, where or played.cluster.configuration(), played.namespace).start()
    try:
        yield life
    finally:
        if not life.is_over():
            os.kill(life.pid, signal.SIGCONT)
            life.stop()


def names_of(number: int) -> list[str]:
    """Of the beads."""
    return [f"gp-{one}" for one in range(number)]


def found(played: PlayedTown, number: int = BEADS) -> None:
    """A town with so many beads and four agents."""
    played.found(max_polecats=4)
    for name in names_of(number):
        played.bead(name)


def all_landed(played: PlayedTown) -> bool:
    """Whether all work is done and nobody has a session."""
    return all(bead.get("status", {}).get("phase") == "Landed" for bead in played.all(kinds.BEAD)) and played.is_at_rest()


def nothing_was_done_twice(played: PlayedTown, number: int = BEADS) -> None:
    """One session, one merge request and one GateRun per bead, and no attempt was lost."""
    beads = played.all(kinds.BEAD)
    assert sorted(played.landed) == sorted(names_of(number))
    assert Counter(mr["spec"]["beadName"] for mr in played.all(kinds.MERGE_REQUEST)) == Counter(names_of(number))
    assert len(played.all(kinds.GATE_RUN)) == number
    assert {bead["status"].get("attempts", 0) for bead in beads} == {0}
    assert {bead["metadata"]["name"]: bead["status"]["usage"]["sessions"] for bead in beads} == dict.fromkeys(names_of(number), 1)

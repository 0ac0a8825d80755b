"""Processes that race for refs; a module of its own because spawned processes import it by name."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from gastown_git.refs import RefMoved
from gastown_git.repository import Repository
from support import git_builder as build

PROCESSES = 4
ROUNDS = 60


def run_at_once(target: Callable[..., None], *arguments: Any) -> list[Any]:
    """Run a function in several processes that start together; give what each put into the queue."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    processes = [context.Process(target=target, args=(number, barrier, results, *arguments)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=100) for _ in processes]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    return answers


def create_all(number: int, barrier: Barrier, results: Any, path: Path, commits: list[str]) -> None:
    """Create one ref per round with this process's own commit; give the rounds won."""
    store = Repository.open(path).refs
    won = []
    for round_number in range(ROUNDS):
        barrier.wait(timeout=60)
        try:
            if store.create(f"refs/mr/race-{round_number}", commits[number]):
                won.append(round_number)
        except RefMoved:
            pass
    results.put((number, won))


def append_commits(number: int, barrier: Barrier, results: Any, path: Path) -> None:
    """Append commits to one chain that all processes share; give those acknowledged."""
    repository = Repository.open(path)
    barrier.wait(timeout=60)
    mine: list[str] = []
    while len(mine) < ROUNDS:
        tip = repository.refs.find("refs/keep/chain")
        assert tip is not None
        commit = repository.write_commit(
            tree=repository.tree_of(tip), parents=[tip], author=build.author(f"w{number}"), message=f"{number}.{len(mine)}"
        )
        try:
            repository.refs.update("refs/keep/chain", new=commit, expected=tip)
        except RefMoved:
            continue
        mine.append(commit)
    results.put(mine)

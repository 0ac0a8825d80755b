"""The crash matrix at length: any part of a town killed at random moments and twice in a row, and the town ends as undisturbed.

The dice are seeded: a failing run prints GASTOWN_CRASH_SEED, which repeats its choices (not its timing).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gastown.local.control_plane_commands import API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER, Options
from gastown.local.keeper import KEEPER
from gastown.local.node.state_directory import running
from gastown.local.node_process import NODE
from gastown.polecat.descendants import descendants
from support.cluster import Cluster, town_in
from support.eventually import eventually
from support.writing_town import RefWatch, SessionProcesses, WritingTown, kill, written

pytestmark = [pytest.mark.cluster, pytest.mark.soak, pytest.mark.timeout(1800)]
SEED = int(os.environ.get("GASTOWN_CRASH_SEED", str(random.SystemRandom().randrange(10**6))))
PARTS = ((API_SERVER,), (ETCD,), (ETCD, API_SERVER), (SCHEDULER,), (CONTROLLER_MANAGER,), (NODE,), (NODE, API_SERVER))
WORKLOADS = ("operator", "repo-server", "refinery")
PAGES = [f"page-{number}" for number in range(12)]
ROUNDS = 24
CHECKPOINTING = ("write-tree", "ls-files", "update-index", "commit-tree", "refs/agents/")
LAND_SECONDS = 900


@pytest.fixture(scope="module")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A town that waits for the disk, as a user's does."""
    with town_in(tmp_path_factory.mktemp("storm") / "town", options=Options()) as cluster:
        yield cluster


@contextmanager
def going(book: WritingTown) -> Iterator[None]:
    """Nobody's agents wait for the test."""
    is_over = threading.Event()

    def let_go() -> None:
        while not is_over.wait(0.5):
            for workspace in book.cluster.directory.node.glob("pods/*/volumes/workspace"):
                (workspace / "go").touch()

    thread = threading.Thread(target=let_go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def kill_part(cluster: Cluster, parts: tuple[str, ...]) -> None:
    """One that is not there is just being started again."""
    pids = cluster.pids()
    kill(*(pids.get(part) for part in parts))


def containers(cluster: Cluster, is_meant: Callable[[str], bool]) -> list[tuple[int, int]]:
    """Supervisor and PID 1 of running containers, by container name."""
    found = running(cluster.directory.node)
    return [(state.shim.process_id, state.init.process_id) for path, state in found if is_meant(path.parts[-2]) and state.init.is_alive()]


def kill_session(cluster: Cluster, dice: random.Random) -> bool:
    """Kill some of the processes of some session, in whatever it is doing."""
    sessions = containers(cluster, lambda name: name in ("agent", "checkout"))
    if not sessions:
        return False
    supervisor, first = dice.choice(sessions)
    below = sorted(descendants(first))
    kill(*dice.choice(([first], below[:1], below[-1:], below, [supervisor], [supervisor, *below, first])))
    return True


def kill_workload(cluster: Cluster, dice: random.Random, names: tuple[str, ...]) -> None:
    """Kill one of the system's own containers, or its supervisor."""
    if found := containers(cluster, lambda name: name in names):
        kill(dice.choice(dice.choice(found)))


def test_a_town_in_a_storm_ends_as_a_calm_one(stormy: Cluster) -> None:
    print(f"GASTOWN_CRASH_SEED={SEED}")
    dice = random.Random(SEED)
    calm = WritingTown(stormy, "calm", "ca", polecats=4)
    with going(calm):
        calm.start(PAGES)
        calm.wait_written(LAND_SECONDS)
    book = WritingTown(stormy, "storm", "st", polecats=4, attempts=100)
    tally: Counter[str] = Counter()
    with going(book), RefWatch(book) as refs:
        book.start(PAGES)
        for _ in range(ROUNDS):
            time.sleep(dice.uniform(0.2, 2.5))  # a moment of its own, not to wait for anything
            victim = dice.choice(("part", "part", "workload", "workload", "session", "session", "gate"))
            parts, workload = dice.choice(PARTS), dice.choice(WORKLOADS)
            for _twice in range(2):
                if victim == "part":
                    kill_part(stormy, parts)
                elif victim == "session":
                    tally["sessions killed"] += kill_session(stormy, dice)
                else:
                    kill_workload(stormy, dice, (workload,) if victim == "workload" else ("gate", "source"))
                time.sleep(dice.uniform(0.0, 1.5))
            tally[" ".join(parts) if victim == "part" else workload if victim == "workload" else victim] += 1
        book.wait_written(LAND_SECONDS, retry_held=True)
    tally["sessions failed"] = book.failed_sessions()
    print(f"killed, twice each: {dict(tally)}; {len(refs.seen)} commits seen on refs")
    assert book.end_state() == calm.end_state() == written(PAGES)
    assert book.failed_sessions() <= tally["sessions killed"], "an attempt was counted that nobody lost"
    book.assert_nothing_doubled_or_left(polecats=4)
    assert refs.lost() == {}


def test_a_killed_keeper_and_then_a_part_of_the_town_are_mended_by_gt_up(stormy: Cluster) -> None:
    from gastown.local import town

    pids = stormy.pids()
    kill(pids[KEEPER])
    eventually(lambda: KEEPER not in stormy.pids())
    kill(*(pids[part] for part in (ETCD, API_SERVER, SCHEDULER, CONTROLLER_MANAGER, NODE)))
    eventually(lambda: not stormy.pids())
    town.up(report=print, directory=stormy.directory, options=Options())
    assert town.status(directory=stormy.directory).is_up


def at_checkout(book: WritingTown, after: str) -> SessionProcesses:
    """A session makes its worktree."""
    del after
    return book.wait_checkout()


def at_work(book: WritingTown, after: str) -> SessionProcesses:
    """Its agent is half-way, and nothing is kept yet."""
    return book.wait_holding("page", after)


def at_checkpoint(book: WritingTown, after: str) -> SessionProcesses:
    """It keeps uncommitted work."""
    session = book.wait_holding("page", after)
    return when(session, lambda words: any(word in words for word in CHECKPOINTING))


def at_push(book: WritingTown, after: str) -> SessionProcesses:
    """It hands in its commit."""
    session = book.wait_holding("page", after)
    book.let_go()
    return when(session, lambda words: "push" in words and "refs/heads/polecat/" in words)


def after_push(book: WritingTown, after: str) -> SessionProcesses:
    """Its commit is on the server, its MergeRequest perhaps; a second session finds all written and hands it in at once."""
    if after:
        return eventually(lambda: running_agent(book, after), 90, "the second session runs")  # type: ignore[return-value] # never None
    session = book.wait_holding("page", after)
    book.let_go()
    eventually(lambda: any(ref.startswith("refs/heads/polecat/") for ref in book.refs()), 60, "the commit is pushed")
    return session


def running_agent(book: WritingTown, after: str) -> SessionProcesses | None:
    """The session that followed another one."""
    pod = book.pod_of("page")
    return None if pod is None or pod["metadata"]["uid"] == after else book.container(pod["metadata"]["uid"])


def at_its_end(book: WritingTown, after: str) -> SessionProcesses:
    """The pod is told to stop."""
    session = book.wait_holding("page", after)
    pod = book.pod_of("page")
    assert pod is not None
    book.cluster.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    return session


Moment = Callable[[WritingTown, str], SessionProcesses]
MOMENTS: dict[str, Moment] = {
    "checkout": at_checkout,
    "work": at_work,
    "checkpoint": at_checkpoint,
    "push": at_push,
    "pushed": after_push,
    "end": at_its_end,
}


def has_handed_in(book: WritingTown, killed_uid: str) -> bool:
    """Whether the work of a killed session was on its way already; waits until that or another session is seen."""

    def outcome() -> str:
        bead, pod = book.beads()["page"], book.pod_of("page")
        if bead["status"]["phase"] in ("Submitted", "Landed"):
            return "handed in"
        return "goes on" if pod is not None and pod["metadata"]["uid"] != killed_uid else ""

    return eventually(outcome, 120, "the killed session is replaced, or its work is handed in") == "handed in"


def when(session: SessionProcesses, says: Callable[[str], bool]) -> SessionProcesses:
    """Wait, without a pause, until a process of a session has such a command line; a session that is over will do, too."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and Path(f"/proc/{session.first}").exists():
        for process in descendants(session.first):
            try:
                if says(Path(f"/proc/{process}/cmdline").read_text(errors="replace").replace("\0", " ")):
                    return session
            except OSError:
                continue
    return session


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_session_killed_twice_in_the_same_moment_loses_nothing(stormy: Cluster, moment: str) -> None:
    book = WritingTown(stormy, f"at-{moment}", f"at{moment[:8]}", polecats=1)
    with RefWatch(book) as refs:
        book.start(["page"])
        uid = ""
        for _ in range(2):
            if uid and has_handed_in(book, uid):
                break  # in time, so there is no second session to kill
            session = MOMENTS[moment](book, uid)
            uid = session.pod_uid
            kill(session.supervisor, *session.all())
        book.wait_written(LAND_SECONDS)
    assert book.end_state() == written(["page"])
    assert book.failed_sessions() <= 2
    book.assert_nothing_doubled_or_left(polecats=1)
    assert refs.lost() == {}

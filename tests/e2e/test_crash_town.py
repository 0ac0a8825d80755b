"""A whole town whose parts are killed with SIGKILL while agents work: it ends as if nobody had touched it.

The whole matrix, and kills at random moments, run as `make soak` (test_crash_soak.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gastown.kube.errors import ApiError
from gastown.kube.rest import Client
from gastown.kube.retry import NO_RETRY
from gastown.local import town
from gastown.local.control_plane_commands import API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER
from gastown.local.node_process import NODE
from support.cluster import Cluster, town_in
from support.eventually import eventually
from support.writing_town import RefWatch, SessionProcesses, WritingTown, kill, written

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
# Killed at one blow, and what comes in its place once more.
PARTS = ((ETCD, API_SERVER), (SCHEDULER, CONTROLLER_MANAGER, NODE))
# Sessions run the gates too, where the test has told them to go on already.
GATE_THAT_WAITS = ("sh", "-c", "until test -e /workspace/go; do sleep 0.05; done")
# Of a session that works: which of its processes are killed.
VICTIMS: dict[str, Callable[[SessionProcesses], list[int | None]]] = {
    "first": lambda session: [session.first],
    "harness": lambda session: [session.harness],
    "agent": lambda session: [session.agent],
    "supervisor": lambda session: [session.supervisor],
    "all": lambda session: [session.supervisor, *session.all()],
}


@pytest.fixture(scope="module")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A town for these tests alone."""
    with town_in(tmp_path_factory.mktemp("crash") / "town") as cluster:
        yield cluster


def kill_parts(cluster: Cluster, parts: tuple[str, ...]) -> None:
    """Kill processes of the town and wait until others run in their place."""
    before = cluster.pids()
    kill(*(before[part] for part in parts))
    eventually(lambda: all(cluster.pids().get(part, before[part]) != before[part] for part in parts), 60, f"{parts} run again")


class Writer:
    """Writes objects as fast as it is answered, and notes which the server acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self.acknowledged: set[str] = set()
        self._configuration = cluster.configuration()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        with Client(self._configuration, user_agent="writer", policy=NO_RETRY, deadline_seconds=5.0) as client:
            while not self._is_over.wait(0.02):
                number += 1
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"written-{number}"}}
                try:
                    client.request("POST", "/api/v1/namespaces/default/configmaps", body)
                except ApiError:
                    continue
                self.acknowledged.add(f"written-{number}")


def test_each_part_of_the_control_plane_and_the_node_may_be_killed_twice(crashing: Cluster) -> None:
    book = WritingTown(crashing, "control", "ct", polecats=3)
    pages = ["alpha", "beta", "gamma", "delta"]
    with RefWatch(book) as refs:
        book.start(pages, needs={"delta": ["alpha", "beta"]})
        sessions = [book.wait_holding(page) for page in pages[:3]]
        with Writer(crashing) as writer:
            for parts in PARTS:
                kill_parts(crashing, parts)
                kill_parts(crashing, parts)
            before = len(writer.acknowledged)
            eventually(lambda: len(writer.acknowledged) > before, 60, "the API server takes writes again")
        assert [book.container(session.pod_uid) for session in sessions] == sessions, "a session was ended for another's death"
        book.wait_written()
    assert book.end_state() == written(pages)
    assert book.failed_sessions() == 0
    book.assert_nothing_doubled_or_left(polecats=3)
    assert refs.lost() == {}
    kept = crashing.kubectl("get", "configmaps", "-n", "default", "-o", "name").stdout.replace("configmap/", "").split()
    assert writer.acknowledged - set(kept) == set()
    eventually(lambda: town.status(directory=crashing.directory).is_up, 60, "gt status says that all is well")


def test_whatever_process_of_a_session_is_killed_another_session_goes_on_from_its_checkpoint(crashing: Cluster) -> None:
    book = WritingTown(crashing, "sessions", "se", polecats=len(VICTIMS))
    with RefWatch(book) as refs:
        book.start(VICTIMS)
        killed = {page: book.wait_holding(page) for page in VICTIMS}
        for page, session in killed.items():
            book.wait_checkpoint(page)
            kill(*VICTIMS[page](session))
        for page, session in killed.items():
            second = book.wait_holding(page, after=session.pod_uid)
            pod = book.pod_of(page)
            assert pod is not None
            told = crashing.kubectl("logs", pod["metadata"]["name"], "-c", "checkout").stdout
            assert "uncommitted work restored from checkpoint" in told, page
            assert not any(Path(f"/proc/{process}").exists() for process in (session.first, session.supervisor)), page
            assert second.pod_uid != session.pod_uid
        book.wait_written()
    assert book.end_state() == written(VICTIMS)
    assert book.failed_sessions() == len(VICTIMS)
    assert {bead["status"].get("reworks", 0) for bead in book.beads().values()} == {0}
    book.assert_nothing_doubled_or_left(polecats=len(VICTIMS))
    assert refs.lost() == {}


def test_a_gate_whose_processes_are_killed_is_run_again_and_its_change_not_blamed(crashing: Cluster) -> None:
    book = WritingTown(crashing, "gated", "ga", polecats=1, gate=GATE_THAT_WAITS)
    book.start(["page"])
    book.wait_holding("page")
    book.let_go()
    first = book.wait_gate()
    kill(first.first)
    second = book.wait_gate(after=[first.pod_uid])
    kill(second.supervisor)
    book.wait_gate(after=[first.pod_uid, second.pod_uid])
    book.wait_written()
    assert book.end_state() == written(["page"])
    (bead,) = book.beads().values()
    assert (bead["status"].get("reworks", 0), book.failed_sessions()) == (0, 0)
    verdicts = [condition["reason"] for run in book.mine("gateruns") for condition in run["status"]["conditions"]]
    assert (verdicts.count("GateError"), verdicts.count("Passed"), verdicts.count("Failed")) == (2, 1, 0)
    book.assert_nothing_doubled_or_left(polecats=1)

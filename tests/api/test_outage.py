"""The API server is away, stopped, slow, or back with less than before: the operator outlasts it, and nothing is lost or done twice."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from gastown.api.kinds import BEAD
from gastown.kube.errors import ApiError
from gastown.local.child_processes import ChildProcesses
from gastown.local.control_plane_commands import Options
from gastown.local.readiness import wait_for_custom_resources
from support.cluster import CRDS, Cluster, running, start
from support.crowd import all_landed, found, nothing_was_done_twice, operating
from support.eventually import eventually
from support.feeding import Engine, Fed, Ways, engine, fed, informing
from support.mortal import LOG
from support.played_town import PlayedTown
from support.proxy import proxy_to

__all__ = ["engine"]
pytestmark = pytest.mark.cluster
OPTIONS = Options(durable=False, controllers=False)
API_SERVER, ETCD = "kube-apiserver", "etcd"
DEADLINE_SECONDS = 240.0


@pytest.fixture(scope="module")
def mortal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of this module's own."""
    with running(tmp_path_factory.mktemp("outage") / "town", OPTIONS) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        with cluster.client() as client:
            wait_for_custom_resources(client)
        yield cluster


@pytest.fixture
def space(mortal_server: Cluster, request: pytest.FixtureRequest) -> str:
    """A fresh namespace in it."""
    return mortal_server.make_namespace("t-" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-50:].strip("-"))


class PatientTown(PlayedTown):
    """Its players try again when the API server is away, as real ones do."""

    def play(self) -> None:
        with suppress(ApiError):
            super().play()


@contextmanager
def stopped(cluster: Cluster) -> Iterator[None]:
    """The process hangs: connections are taken and nothing is answered."""
    pid = cluster.pids()[API_SERVER]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def killed(cluster: Cluster) -> Iterator[None]:
    """The process is gone: connections are refused. What comes back finds every older version too old to go on from."""
    os.kill(cluster.pids()[API_SERVER], signal.SIGKILL)
    try:
        yield
    finally:
        start(cluster.directory, OPTIONS)


AWAY = {"stopped": stopped, "killed": killed}


def outlasts(cluster: Cluster, space: str, folder: Path, away: str, seconds: float) -> None:
    """Under load: the town does nothing and comes to no harm while the server is away, and goes on soon after."""
    town = PatientTown(cluster, space)
    found(town, 12)
    with operating(town, folder) as life, town.playing():
        eventually(lambda: len(town.landed) >= 3, DEADLINE_SECONDS, "three landed")
        with AWAY[away](cluster):
            before, since = cpu_seconds(life.pid), time.monotonic()
            until = since + seconds
            while time.monotonic() < until:
                assert health_of(folder) == 200, "a liveness probe would have killed an operator that only waits"
                time.sleep(min(1.0, seconds / 10))
            used, passed = cpu_seconds(life.pid) - before, time.monotonic() - since
        landed, since = len(town.landed), time.monotonic()
        eventually(lambda: len(town.landed) > landed, DEADLINE_SECONDS, "the town goes on")
        print(f"\n{away} for {passed:.0f} s: {used:.2f} s CPU meanwhile; the next bead landed after {time.monotonic() - since:.1f} s")
        eventually(lambda: all_landed(town), DEADLINE_SECONDS, "all landed")
        assert not life.is_over(), life.told()
        assert used < 0.3 * passed, "it is to wait, not to spin"
    nothing_was_done_twice(town, 12)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def health_of(folder: Path) -> int:
    """What a liveness probe would be answered."""
    (port,) = re.findall(r"health_port=(\d+)", (folder / LOG).read_text())[-1:]
    with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        return int(answer.status)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("away", AWAY)
def test_a_town_under_load_outlasts_an_api_server_that_is_away(mortal_server: Cluster, space: str, tmp_path: Path, away: str) -> None:
    outlasts(mortal_server, space, tmp_path, away, 4.0)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("away", AWAY)
def test_a_town_under_load_outlasts_an_api_server_that_is_away_for_a_minute(
    mortal_server: Cluster, space: str, tmp_path: Path, away: str
) -> None:
    outlasts(mortal_server, space, tmp_path, away, 60.0)


@pytest.mark.timeout(600)
def test_after_a_restart_of_the_api_server_no_feed_holds_a_ghost(
    engine: Engine, mortal_server: Cluster, space: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(it: Fed) -> None:
        for number in range(3):
            await it.make(f"gp-{number}")
        await it.holds({f"gp-{number}": 2 for number in range(3)})
        await it.watches()
        await it.goes_away()
        await it.delete("gp-0")
        await it.change("gp-1", 4)
        await it.make("gp-9", 1)
        with killed(mortal_server):  # its watch cache begins anew: what the feed saw last is too old
            pass
        it.proxy.is_down = False
        await it.holds({"gp-1": 4, "gp-2": 2, "gp-9": 1})
        assert it.news("gp-0")[-1] == "deleted"

    with caplog.at_level("INFO"), proxy_to(mortal_server.configuration()) as proxy:
        fed(engine, mortal_server.configuration(), proxy, space, act)
    if engine is informing:
        assert "watch_too_old" in caplog.messages, "it was to be a real 410"


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_feed_follows_an_etcd_that_was_restored_from_a_backup(engine: Engine, mortal_server: Cluster, space: str) -> None:
    processes, data = ChildProcesses(mortal_server.directory), mortal_server.directory.etcd_data
    copy = data.with_name("backup")

    def at_rest(action: Callable[[], object]) -> None:
        for name in (API_SERVER, ETCD):
            processes.stop(name, 10)
        action()
        start(mortal_server.directory, OPTIONS)

    def go_back() -> None:
        shutil.rmtree(data)
        shutil.copytree(copy, data)

    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.make("gp-2")
        await it.holds({"gp-1": 2, "gp-2": 2})
        await it.goes_away()
        at_rest(lambda: shutil.copytree(data, copy))
        await it.direct.list_all(BEAD, space)  # by a new connection; the old one is gone
        it.proxy.is_down = False
        for number in range(3, 30):
            await it.make(f"gp-{number}")
        await it.delete("gp-1")
        await it.holds({f"gp-{number}": 2 for number in range(2, 30)})
        await it.goes_away()
        at_rest(go_back)
        await it.direct.list_all(BEAD, space)
        it.proxy.is_down = False
        # A watch that goes on from a version which the server does not have tells nothing, not even bookmarks.
        await it.holds({"gp-1": 2, "gp-2": 2}, timeout_seconds=120)
        await it.make("gp-40")
        await it.holds({"gp-1": 2, "gp-2": 2, "gp-40": 2}, timeout_seconds=120)

    try:
        with proxy_to(mortal_server.configuration()) as proxy:
            fed(engine, mortal_server.configuration(), proxy, space, act, Ways(silence_seconds=8.0))
    finally:
        shutil.rmtree(copy, ignore_errors=True)


BAD_LINKS: dict[str, dict[str, float]] = {
    "slow": {"delay_seconds": 0.5},
    "very slow": {"delay_seconds": 4.0},
    "narrow": {"bytes_per_second": 40_000},
    "stalling": {},
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("link", [pytest.param(name, marks=[pytest.mark.soak] if name != "narrow" else []) for name in BAD_LINKS])
def test_a_town_behind_a_bad_link_does_everything_once(mortal_server: Cluster, space: str, tmp_path: Path, link: str) -> None:
    town = PatientTown(mortal_server, space)
    found(town, 4)
    with proxy_to(mortal_server.configuration()) as proxy:
        for name, value in BAD_LINKS[link].items():
            setattr(proxy, name, value)
        with operating(town, tmp_path, proxy.configuration) as life, town.playing():
            if link == "stalling":
                eventually(lambda: proxy.open_streams >= 8, DEADLINE_SECONDS, "it watches")
                proxy.stall_answers = 3
            eventually(lambda: all_landed(town), 2 * DEADLINE_SECONDS, "all landed")
            assert health_of(tmp_path) == 200
            assert not life.is_over(), life.told()
    assert proxy.most_writes_in_flight <= 4
    nothing_was_done_twice(town, 4)

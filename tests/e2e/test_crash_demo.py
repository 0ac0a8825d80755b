"""`make demo`, `gt up` and `gt down` stopped half-way, by Ctrl-C and worse: the next run works, and `gt down` leaves nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gastown.local.town_directory import TownDirectory, town_directory
from support.cluster import ROOT, guarded
from support.eventually import eventually
from support.left_behind import left_behind

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
DEMO = ROOT / "examples" / "demo.py"
SEED = int(os.environ.get("GASTOWN_CRASH_SEED", str(random.SystemRandom().randrange(10**6))))
# What a demo says from one end to the other; a kill comes at a random moment after one of these.
MOMENTS = (
    "Gas Town demo",
    "starting etcd",
    "starting kube-apiserver",
    "starting kube-controller-manager",
    "starting the process node",
    "installing the chart",
    "kubectl apply",
    "gt convoy status",
)
# Said only by the one that starts the town.
OF_THE_FIRST = MOMENTS[1:6]


@dataclass
class Home:
    """A user's home with its own towns, and programs run in it as from a terminal."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def directory(self) -> TownDirectory:
        """Of the default town."""
        return town_directory(environment={"XDG_STATE_HOME": str(self.folder)})

    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return {**own, "XDG_STATE_HOME": str(self.folder), "PATH": programs}

    def start(self, *command: str) -> Running:
        """A program as the foreground job of a terminal: Ctrl-C reaches it and its children."""
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return Running(process)

    def demo(self) -> Running:
        """`make demo`, without make."""
        return self.start(sys.executable, str(DEMO))

    def gt(self, *words: str) -> str:
        """Run gt to its end; its output."""
        running = self.start(sys.executable, "-P", "-m", "gastown.cli.gt.main", *words)
        assert running.wait() == 0, running.text()
        return running.text()


class Running:
    """A program and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def text(self) -> str:
        """What it has said so far."""
        return "".join(self._lines)

    def wait_for(self, words: str, timeout_seconds: float = 240.0) -> None:
        """Wait until it says this, or has ended."""
        eventually(lambda: words in self.text() or self.process.poll() is not None, timeout_seconds, f"it says {words!r}")
        assert words in self.text(), self.text()

    def strike(self, number: signal.Signals, *, group: bool = True) -> None:
        """Signal it, with its children as a terminal does, or alone."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def wait(self, timeout_seconds: float = 400.0) -> int:
        """Its exit code."""
        code = self.process.wait(timeout_seconds)
        self._reader.join(5.0)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)


@contextmanager
def home_in(folder: Path) -> Iterator[Home]:
    """A home whose town is down at the end, whatever happens."""
    home = Home(folder)
    with guarded(home.directory):
        yield home
        for process in home.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def was_being_loaded(running: Running) -> bool:
    """Whether Ctrl-C came before a command began: Python itself then tells of it (docs/explanation/limits.md)."""
    return "KeyboardInterrupt" in running.text() and "in run_reporting" not in running.text()


def assert_told_in_a_sentence(running: Running) -> None:
    """Who pressed Ctrl-C sees no traceback, and learns what goes on and what to do."""
    assert "Traceback" not in running.text(), running.text()
    assert "make demo goes on with it" in running.text(), running.text()
    assert "make down ends it" in running.text()


def test_ctrl_c_in_the_demo_is_told_and_leaves_a_town_that_the_next_one_takes_over(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    print(f"GASTOWN_CRASH_SEED={SEED}")
    with home_in(tmp_path) as home:
        first = home.demo()
        first.wait_for(dice.choice(OF_THE_FIRST))
        time.sleep(dice.uniform(0.0, 0.5))  # a moment of its own; not to wait for anything
        first.strike(signal.SIGINT)
        assert first.wait() == 130
        assert_told_in_a_sentence(first)
        second = home.demo()
        second.wait_for("WAVE")
        second.strike(signal.SIGINT)
        assert second.wait() == 130
        assert_told_in_a_sentence(second)
        home.gt("down")
        assert left_behind(home.directory) == []


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_the_demo_stopped_by_anything_at_any_moment_works_the_next_time(tmp_path: Path) -> None:
    print(f"GASTOWN_CRASH_SEED={SEED}")
    dice = random.Random(SEED)
    strikes = [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGHUP, True), (signal.SIGTERM, False), (signal.SIGKILL, False)]
    is_down = True
    with home_in(tmp_path) as home:
        for moment in dice.sample(MOMENTS, len(MOMENTS)):
            number, group = dice.choice(strikes)
            stopped = home.demo()
            stopped.wait_for(moment if is_down or moment not in OF_THE_FIRST else MOMENTS[0])
            time.sleep(dice.uniform(0.0, 1.0))  # a moment of its own; not to wait for anything
            stopped.strike(number, group=group)
            code = stopped.wait()
            print(f"{number.name} {'to the group' if group else 'alone'} after {moment!r}: exit code {code}")
            if code == 130:
                assert_told_in_a_sentence(stopped)
            assert "Traceback" not in stopped.text(), stopped.text()
            is_down = dice.random() < 0.5
            if is_down:
                home.gt("down")
                assert left_behind(home.directory) == []
        last = home.demo()
        assert last.wait() == 0, last.text()
        home.gt("down")
        assert left_behind(home.directory) == []


@pytest.mark.soak
def test_two_demos_at_once_land_both(tmp_path: Path) -> None:
    with home_in(tmp_path) as home:
        both = [home.demo(), home.demo()]
        assert [running.wait() for running in both] == [0, 0], "\n".join(running.text() for running in both)
        names = {line for running in both for line in running.text().splitlines() if line.startswith("Convoy ")}
        assert len({line.split()[1] for line in names}) == 2
        home.gt("down")
        assert left_behind(home.directory) == []


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_up_and_down_killed_at_random_moments_are_no_obstacle_to_the_next(tmp_path: Path) -> None:
    print(f"GASTOWN_CRASH_SEED={SEED}")
    dice = random.Random(SEED)
    with home_in(tmp_path) as home:
        for _ in range(8):
            for _ in range(dice.randint(1, 3)):
                running = home.start(sys.executable, "-P", "-m", "gastown.cli.gt.main", dice.choice(("up", "up", "down")))
                time.sleep(dice.choice((dice.uniform(0, 1), dice.uniform(0, 15))))  # a moment of its own; not to wait for anything
                if running.process.poll() is None:
                    running.strike(dice.choice((signal.SIGKILL, signal.SIGINT, signal.SIGTERM)), group=dice.random() < 0.5)
                running.wait()
                assert "Traceback" not in running.text() or was_being_loaded(running), running.text()
            home.gt("up")
            assert json.loads(home.gt("status", "--json"))["local"]["up"]
            if dice.random() < 0.5:
                home.gt("down")
                assert left_behind(home.directory) == []

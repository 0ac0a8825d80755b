"""The keeper with real processes of its own: what ends is started again, what is stopped is not."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gastown.local.child_processes import ChildProcesses, Command
from gastown.local.keeper import KEEPER, Keeper, keeper_command
from gastown.local.process_identity import ProcessIdentity
from gastown.local.town_directory import TownDirectory
from support.eventually import eventually

SLEEP = Command(["sleep", "600"], {"GREETING": "hi"})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """A town of sleepers and its keeper, who looks when told."""

    def __init__(self, root: Path) -> None:
        self.directory = TownDirectory("test", root)
        self.directory.create()
        self.processes = ChildProcesses(self.directory)
        self.clock = Clock()
        self.told: list[str] = []
        self.keeper = Keeper(self.directory, self.told.append, self.clock)

    def start(self, command: Command = SLEEP, name: str = "sleeper") -> ProcessIdentity:
        self.processes.ensure(name, command)
        return self.find(name)

    def find(self, name: str = "sleeper") -> ProcessIdentity:
        identity = self.processes.find(name)
        assert identity is not None
        return identity

    def runs(self, name: str = "sleeper") -> bool:
        return self.processes.find(name) is not None

    def kill(self, name: str = "sleeper") -> None:
        self.find(name).kill()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    town = Kept(tmp_path / "town")
    yield town
    for name in (KEEPER, *town.processes.names()):
        ChildProcesses(town.directory).stop(name, 0)
    ChildProcesses(town.directory).stop_strays(0)


def environment_of(identity: ProcessIdentity) -> list[bytes]:
    return Path(f"/proc/{identity.pid}/environ").read_bytes().split(b"\0")


def test_what_was_killed_runs_again_with_its_command_and_environment(kept: Kept) -> None:
    old = kept.start()
    kept.kill()
    kept.keeper.look()
    new = kept.find()
    assert new != old
    eventually(lambda: Path(f"/proc/{new.pid}/cmdline").read_bytes().endswith(b"sleep\x00600\x00"), describe="it is the program again")
    assert b"GREETING=hi" in environment_of(new)
    assert kept.told == ["sleeper had ended and was started again"]
    assert not kept.processes.ensure("sleeper", SLEEP), "gt up would start it once more"


def test_what_runs_is_left_alone(kept: Kept) -> None:
    before = kept.start()
    kept.keeper.look()
    assert (kept.find(), kept.told) == (before, [])


def test_what_was_stopped_stays_stopped(kept: Kept) -> None:
    kept.start()
    kept.processes.stop("sleeper", 0)
    kept.keeper.look()
    assert not kept.runs()


def test_what_dies_again_and_again_is_started_ever_more_rarely(kept: Kept) -> None:
    kept.start()
    starts = []
    for _ in range(300):
        if kept.runs():
            kept.kill()
        kept.keeper.look()
        if kept.runs():
            starts.append(kept.clock.now)
        kept.clock.now += 1
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert gaps == sorted(gaps)
    assert (gaps[0], gaps[-1]) == (1, 60)


def test_a_death_after_a_healthy_time_is_mended_at_once(kept: Kept) -> None:
    kept.start()
    for pause in (0, 100, 100):
        kept.clock.now += pause
        kept.kill()
        kept.keeper.look()
        assert kept.runs()


def test_one_that_can_not_run_is_told_and_does_not_keep_the_others_waiting(kept: Kept) -> None:
    program = kept.directory.root / "program"
    program.symlink_to("/bin/sleep")
    kept.start(Command([str(program), "600"]), "a-broken")
    kept.start(name="b-sleeper")
    program.unlink()
    kept.kill("a-broken")
    kept.kill("b-sleeper")
    kept.keeper.look()
    assert kept.runs("b-sleeper")
    assert kept.told[0].startswith(f"a-broken had ended and could not be started again: a-broken: can not run {program}")
    assert kept.told[0].endswith("next try in 1 s")


def test_nothing_is_started_while_somebody_brings_the_town_up_or_down(kept: Kept) -> None:
    kept.processes.ensure(KEEPER, keeper_command(kept.directory))
    kept.start()
    with kept.directory.lock(lambda _: None):
        kept.kill()
        # It looks every second; wait until it has surely seen the end and stands before the lock.
        eventually(lambda: _waits_for_lock(kept.find(KEEPER).pid, kept.directory), describe="the keeper waits for the lock")
        assert not kept.runs()
        kept.processes.stop("sleeper", 0)
    kept.start(name="another")
    kept.kill("another")
    eventually(lambda: kept.runs("another"), describe="the other one is back")
    assert not kept.runs("sleeper")


def test_a_keeper_that_can_not_write_its_log_goes_on(kept: Kept) -> None:
    before = kept.start()
    command = [*keeper_command(kept.directory).arguments]
    with Path("/dev/full").open("w") as full, subprocess.Popen(command, stdout=full, stderr=full) as keeper:
        try:
            for _ in range(2):
                kept.kill()
                eventually(lambda before=before: kept.runs() and kept.find() != before, 60, "the sleeper is back")  # type: ignore[misc]
                before = kept.find()
            assert keeper.poll() is None
        finally:
            keeper.kill()


def test_a_killed_keeper_costs_nothing_and_the_next_one_goes_on(kept: Kept) -> None:
    before = kept.start()
    kept.processes.ensure(KEEPER, keeper_command(kept.directory))
    kept.kill(KEEPER)
    assert kept.find() == before
    kept.kill()
    kept.processes.ensure(KEEPER, keeper_command(kept.directory))
    eventually(kept.runs, describe="the sleeper is back")


def test_a_stranger_with_the_number_of_one_that_ended_is_left_alone(kept: Kept) -> None:
    old = kept.start()
    kept.kill()
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            record = kept.directory.run / "sleeper.json"
            content = json.loads(record.read_text())
            record.write_text(json.dumps({**content, "pid": stranger.pid, "startTime": old.start_time - 1}))
            kept.keeper.look()
            assert kept.find().pid != stranger.pid
            assert stranger.poll() is None
        finally:
            stranger.kill()


def _waits_for_lock(pid: int, directory: TownDirectory) -> bool:
    files = {entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    return directory.root / "lock" in files

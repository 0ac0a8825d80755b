"""With real processes: what counts is which process gets a signal, and only the kernel knows that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gastown.local.child_processes import TOWN_VARIABLE, ChildProcesses, Command
from gastown.local.errors import LocalTownError, ProcessEnded
from gastown.local.process_identity import ProcessIdentity, find_by_environment, find_identity
from gastown.local.town_directory import TownDirectory
from support.eventually import eventually

SLEEP = Command(["sleep", "600"])


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[TownDirectory]:
    made = TownDirectory("test", tmp_path / "town")
    made.create()
    yield made
    ChildProcesses(made).stop_strays(0)
    for name in ChildProcesses(made).names():
        ChildProcesses(made).stop(name, 0)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that the town did not start."""
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            yield process
        finally:
            process.kill()


def forge_record(directory: TownDirectory, name: str, identity: ProcessIdentity) -> None:
    record = {"pid": identity.pid, "startTime": identity.start_time, "bootId": identity.boot_id, "digest": SLEEP.digest(), "logStart": 0}
    (directory.run / f"{name}.json").write_text(json.dumps(record))


def started(directory: TownDirectory, name: str, command: Command) -> ProcessIdentity:
    processes = ChildProcesses(directory)
    assert processes.ensure(name, command)
    identity = processes.find(name)
    assert identity is not None
    return identity


def test_a_process_runs_in_a_session_of_its_own_with_its_output_in_a_log(directory: TownDirectory) -> None:
    identity = started(directory, "talker", Command(["sh", "-c", "echo hello; exec sleep 600"], {"GREETING": "hi"}))
    assert os.getsid(identity.pid) == identity.pid
    eventually(lambda: directory.log_of("talker").read_text() == "hello\n")
    eventually(lambda: b"GREETING=hi" in Path(f"/proc/{identity.pid}/environ").read_bytes(), describe="its environment")


def test_another_caller_finds_it_and_leaves_it_alone(directory: TownDirectory) -> None:
    identity = started(directory, "sleeper", SLEEP)
    other = ChildProcesses(directory)
    assert not other.ensure("sleeper", SLEEP)
    assert other.find("sleeper") == identity


def test_a_process_with_another_command_is_replaced(directory: TownDirectory) -> None:
    old = started(directory, "sleeper", SLEEP)
    new = started(directory, "sleeper", Command(["sleep", "601"]))
    assert new != old
    assert not old.is_alive()


def test_a_process_whose_configuration_file_changed_is_replaced(directory: TownDirectory) -> None:
    file = directory.configuration / "file"
    file.write_text("one")
    old = started(directory, "sleeper", Command(["sleep", "600"], files=(file,)))
    assert not ChildProcesses(directory).ensure("sleeper", Command(["sleep", "600"], files=(file,)))
    file.write_text("two")
    assert started(directory, "sleeper", Command(["sleep", "600"], files=(file,))) != old


def test_stop_ends_it_and_forgets_it(directory: TownDirectory) -> None:
    identity = started(directory, "sleeper", SLEEP)
    ChildProcesses(directory).stop("sleeper", 5)
    assert not identity.is_alive()
    assert ChildProcesses(directory).names() == []


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(directory: TownDirectory) -> None:
    identity = started(directory, "stubborn", Command(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]))
    eventually(lambda: directory.log_of("stubborn").read_text() == "ready\n")
    begin = time.monotonic()
    ChildProcesses(directory).stop("stubborn", 0.3)
    assert not identity.is_alive()
    assert 0.3 <= time.monotonic() - begin < 30


@pytest.mark.parametrize("field", ["start_time", "boot_id"])
def test_a_stale_record_never_ends_a_stranger(directory: TownDirectory, stranger: subprocess.Popen[bytes], field: str) -> None:
    real = find_identity(stranger.pid)
    assert real is not None
    stale = ProcessIdentity(
        real.pid,
        real.start_time - (1 if field == "start_time" else 0),
        "another-boot" if field == "boot_id" else real.boot_id,
    )
    forge_record(directory, "sleeper", stale)
    processes = ChildProcesses(directory)
    assert processes.find("sleeper") is None
    processes.stop("sleeper", 0)
    assert stranger.poll() is None
    assert not stale.is_alive()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"pid": "x"}'], ids=["empty", "no fields", "a list", "a word"])
def test_a_damaged_record_ends_nothing_and_does_not_stand_in_the_way(directory: TownDirectory, content: str) -> None:
    (directory.run / "sleeper.json").write_text(content)
    processes = ChildProcesses(directory)
    processes.stop("sleeper", 0)
    assert processes.ensure("sleeper", SLEEP)


def test_a_process_whose_record_is_lost_is_still_found(directory: TownDirectory, stranger: subprocess.Popen[bytes]) -> None:
    identity = started(directory, "sleeper", SLEEP)
    (directory.run / "sleeper.json").unlink()
    assert ChildProcesses(directory).stop_strays(5) == 1
    assert not identity.is_alive()
    assert stranger.poll() is None


def test_strays_are_only_those_without_a_record(directory: TownDirectory) -> None:
    identity = started(directory, "sleeper", SLEEP)
    assert ChildProcesses(directory).stop_strays(0) == 0
    assert identity.is_alive()


def test_another_town_whose_path_begins_alike_is_left_alone(directory: TownDirectory, tmp_path: Path) -> None:
    other = TownDirectory("other", tmp_path / "town-2")
    other.create()
    identity = started(other, "sleeper", SLEEP)
    try:
        assert ChildProcesses(directory).stop_strays(0) == 0
        assert identity.is_alive()
    finally:
        ChildProcesses(other).stop("sleeper", 0)


def test_a_process_that_ended_by_itself_is_told_with_the_end_of_its_own_log(directory: TownDirectory) -> None:
    directory.log_of("failing").write_text("of an older run\n")
    processes = ChildProcesses(directory)
    # Not before it is let: a process may else end even before it is recorded.
    gate = directory.root / "gate"
    processes.ensure("failing", Command(["sh", "-c", f"while ! test -e {gate}; do sleep 0.02; done; echo out of order; exit 3"]))
    gate.touch()
    eventually(lambda: processes.find("failing") is None)
    with pytest.raises(ProcessEnded) as error:
        processes.check("failing")
    assert "out of order" in str(error.value)
    assert str(directory.log_of("failing")) in str(error.value)
    assert "older run" not in str(error.value)


def test_the_reason_of_a_panic_is_quoted_and_not_the_end_of_its_stack(directory: TownDirectory) -> None:
    stack = "".join(f"main.function{number}()\\n" for number in range(40))
    command = Command(["sh", "-c", f"printf 'started\\npanic: no space left on device\\n{stack}'; sleep 600"])
    started(directory, "failing", command)
    eventually(lambda: "function39" in directory.log_of("failing").read_text())
    assert "panic: no space left on device" in ChildProcesses(directory).quote_log("failing")


def test_a_program_that_is_missing_is_named(directory: TownDirectory) -> None:
    with pytest.raises(LocalTownError, match="sleeper: can not run /no/such/program: no such program"):
        ChildProcesses(directory).ensure("sleeper", Command(["/no/such/program"]))


def start_and_be_killed_before_the_record(directory: TownDirectory) -> ProcessIdentity:
    script = (
        "import sys, os, signal, pathlib\n"
        "from gastown.local import child_processes\n"
        "from gastown.local.town_directory import TownDirectory\n"
        "child_processes.write_atomically = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "d = TownDirectory('test', pathlib.Path(sys.argv[1]))\n"
        "child_processes.ChildProcesses(d).ensure('sleeper', child_processes.Command(['sleep', '600']))\n"
    )
    starter = subprocess.run([sys.executable, "-c", script, str(directory.root)], check=False, timeout=30)
    assert starter.returncode == -signal.SIGKILL
    eventually((directory.run / "sleeper.pid").exists)
    assert ChildProcesses(directory).names() == []
    (identity,) = find_by_environment(TOWN_VARIABLE, str(directory.root))
    return identity


def test_what_a_killed_starter_started_is_found_without_its_record(directory: TownDirectory) -> None:
    identity = start_and_be_killed_before_the_record(directory)
    assert ChildProcesses(directory).stop_strays(5) == 1
    assert not identity.is_alive()


def test_what_a_killed_starter_started_never_runs_beside_the_next(directory: TownDirectory) -> None:
    identity = start_and_be_killed_before_the_record(directory)
    next_one = started(directory, "sleeper", SLEEP)
    assert not identity.is_alive()
    assert find_by_environment(TOWN_VARIABLE, str(directory.root)) == [next_one]


def test_a_stale_note_never_ends_a_stranger(directory: TownDirectory, stranger: subprocess.Popen[bytes]) -> None:
    (directory.run / "sleeper.pid").write_text(f"{stranger.pid}\n")
    started(directory, "sleeper", SLEEP)
    assert stranger.poll() is None


def test_a_stale_note_never_ends_the_same_process_of_another_town(directory: TownDirectory, tmp_path: Path) -> None:
    other = TownDirectory("other", tmp_path / "town-2")
    other.create()
    neighbour = started(other, "sleeper", SLEEP)
    try:
        (directory.run / "sleeper.pid").write_text(f"{neighbour.pid}\n")
        started(directory, "sleeper", SLEEP)
        assert neighbour.is_alive()
    finally:
        ChildProcesses(other).stop("sleeper", 0)


def test_a_zombie_counts_as_ended() -> None:
    with subprocess.Popen(["true"]) as process:
        eventually(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        assert find_identity(process.pid) is None


def test_a_command_name_with_parentheses_is_read_rightly(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "600"]) as process:
        try:
            identity = eventually(lambda: find_identity(process.pid))
            assert identity is not None
            assert identity.start_time > 1000
        finally:
            process.kill()

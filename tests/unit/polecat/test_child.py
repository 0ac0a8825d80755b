"""Children of the harness: a deadline and a group for each."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gastown.polecat import child
from gastown.polecat.descendants import descendants, end_all
from gastown.polecat.errors import Interrupted
from support.eventually import eventually


def is_gone(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_output_and_exit_code_are_returned() -> None:
    done = child.run(["sh", "-c", "cat; echo err >&2; exit 3"], deadline_seconds=10, given=b"in")
    assert (done.exit_code, done.output, done.error, done.timed_out) == (3, b"in", b"err\n", False)


def test_a_child_past_its_deadline_is_killed_with_its_whole_group(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/grandchild; echo said; wait"
    done = child.run(["sh", "-c", script], deadline_seconds=0.3)
    assert (done.timed_out, done.output) == (True, b"said\n")
    grandchild = int((tmp_path / "grandchild").read_text())
    eventually(lambda: is_gone(grandchild))


def test_an_interrupt_ends_the_child_at_once() -> None:
    flag = threading.Event()
    threading.Timer(0.1, flag.set).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        child.run(["sleep", "600"], deadline_seconds=600, is_interrupted=flag.is_set)
    assert time.monotonic() - started < 60


def test_a_big_input_is_sent_whole_although_the_child_is_looked_at_meanwhile() -> None:
    data = b"x" * 1_000_000
    done = child.run(["sh", "-c", "sleep 0.5; wc -c"], deadline_seconds=20, given=data, is_interrupted=lambda: False)
    assert done.output.strip() == b"1000000"


def test_a_log_of_any_size_goes_to_a_file_and_its_end_is_shown(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('x' * 5_000_000); print('the end'); raise SystemExit(4)"]
    code, timed_out = child.run_logged(command, tmp_path / "log", deadline_seconds=30, folder=tmp_path, environment=dict(os.environ))
    assert (code, timed_out) == (4, False)
    assert child.tail(tmp_path / "log", 20) == "xxxxxxxxxxx\nthe end\n"


def test_descendants_of_descendants_are_found_and_ended(tmp_path: Path) -> None:
    script = f"sh -c 'sleep 600 & echo $! > {tmp_path}/deep; wait' & wait"
    process = subprocess.Popen(["setsid", "sh", "-c", script])
    deep = int(eventually(lambda: (tmp_path / "deep").read_text() if (tmp_path / "deep").exists() else "", 60))
    assert deep in descendants(process.pid)
    assert end_all(process.pid) >= 2
    eventually(lambda: is_gone(deep))
    process.kill()
    process.wait()

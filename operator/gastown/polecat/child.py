"""Child processes of the harness: argument lists only, each with a deadline and a process group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gastown.polecat.errors import Interrupted

# How long an interrupt may go unseen while a child runs.
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Completed:
    """A child that ended by itself, or (timed_out) was killed at its deadline."""

    exit_code: int
    output: bytes
    error: bytes
    timed_out: bool = False


def run(
    arguments: Sequence[str],
    *,
    deadline_seconds: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: bytes = b"",
    is_interrupted: Callable[[], bool] | None = None,
) -> Completed:
    """Run a program to its end and return what it wrote.

    Args:
        deadline_seconds: After this the child's whole process group is killed.
        folder: Working directory.
        environment: The whole environment; default is our own.
        given: Standard input.
        is_interrupted: Looked at five times a second.

    Raises:
        Interrupted: `is_interrupted` became true; the group is dead.
        OSError: The program can not be started.
    """
    # A file and not a pipe: communicate() forgets the rest of a long input when it is called again after a timeout (Python 3.11).
    with tempfile.TemporaryFile() as source:
        source.write(given)
        source.seek(0)
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    deadline = time.monotonic() + deadline_seconds
    while True:
        step = min(LOOK_SECONDS if is_interrupted else deadline_seconds, max(0.0, deadline - time.monotonic()))
        try:
            output, error = process.communicate(timeout=step)
            return Completed(process.returncode, output, error or b"")
        except subprocess.TimeoutExpired:
            pass
        if is_interrupted is not None and is_interrupted():
            _end(process)
            raise Interrupted(arguments[0], "was ended because the session stops", reason="Stopped")
        if time.monotonic() >= deadline:
            output, error = _end(process)
            return Completed(process.returncode, output, error, timed_out=True)


def kill_group(group: int, signal_number: int = signal.SIGKILL) -> None:
    """Signal a whole process group; one that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal_number)


def _end(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    kill_group(process.pid)
    try:
        # A grandchild in a session of its own may still hold the pipes open.
        output, error = process.communicate(timeout=2)
    except subprocess.TimeoutExpired as expired:
        process.kill()
        process.wait()
        output, error = expired.stdout or b"", expired.stderr or b""
    return output, error or b""


def run_logged(
    arguments: Sequence[str],
    log: Path,
    *,
    deadline_seconds: float,
    folder: Path,
    environment: Mapping[str, str],
    is_interrupted: Callable[[], bool] | None = None,
) -> tuple[int, bool]:
    """Run a program whose output may be of any size, into a file.

    Returns:
        Exit code (negative for a signal), and whether it was killed at its deadline.

    Raises:
        Interrupted, OSError: As of `run`.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + deadline_seconds
    while True:
        try:
            return process.wait(timeout=max(0.0, min(LOOK_SECONDS, deadline - time.monotonic()))), False
        except subprocess.TimeoutExpired:
            pass
        interrupted = is_interrupted is not None and is_interrupted()
        if interrupted or time.monotonic() >= deadline:
            kill_group(process.pid)
            process.wait()
            if interrupted:
                raise Interrupted(arguments[0], "was ended because the session stops", reason="Stopped")
            return process.returncode, True


def tail(path: Path, limit_bytes: int = 8192) -> str:
    """The end of a log, as text; "" when it can not be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit_bytes))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""

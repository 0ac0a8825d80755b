"""PID 1 of a session pod: a small process whose only child of its own is the harness.

The harness waits for its children by their IDs, as Python programs do. Something else must wait for the orphans that agents leave
behind, and `waitpid(-1)` in the same process would steal the harness's own children from it; hence two processes. This one forwards
signals, reaps, and says so if the harness dies without a word.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from gastown.polecat.descendants import end_all
from gastown.polecat.result import FAILED, Result, to_json, write_termination_message

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_CHILD_SUBREAPER = 36


def supervise(harness: Callable[[], int], termination_log: Path) -> int:
    """Run the harness in a child process, and reap everything until it ends.

    Args:
        harness: Its return value is the exit code.
        termination_log: Gets a message only when the harness leaves it empty.

    Returns:
        Exit code of the harness; 128 + n when signal n ended it.
    """
    _adopt_orphans()
    # Blocked over the fork: a SIGTERM in between must reach the harness, not be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    child = os.fork()
    if child == 0:
        os._exit(_run_harness(harness))
    for number in FORWARDED:
        signal.signal(number, lambda received, _frame: _forward(child, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    status = _reap_until(child)
    end_all(os.getpid())
    _reap_rest()
    exit_code = os.waitstatus_to_exitcode(status)
    if exit_code < 0:
        _speak_for_the_dead(termination_log, -exit_code)
    return exit_code if exit_code >= 0 else 128 - exit_code


def _run_harness(harness: Callable[[], int]) -> int:
    for number in FORWARDED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    try:
        return harness()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _forward(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _reap_until(child: int) -> int:
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            return status


def _reap_rest() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _speak_for_the_dead(termination_log: Path, number: int) -> None:
    try:
        if termination_log.stat().st_size > 0:
            return
    except OSError:
        pass
    message = f"the harness was ended by signal {number}; out of memory is the usual cause"
    result = Result(outcome=FAILED, reason="HarnessKilled", message=message, exit_code=128 + number)
    write_termination_message(termination_log, to_json(result))


def _adopt_orphans() -> None:
    """Be the parent of orphans where the runtime gave us no PID namespace."""
    if os.getpid() == 1:
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

"""Supervises one container: makes its sandbox, keeps its log, and leaves its exit code in a file.

The agent starts one per container start (`launcher.py`), in a session of its own: the agent may die and come back, the shim and its
container go on. Stdlib only and few imports; every millisecond here is on the way from binding to first instruction.

Its one argument is `run` or `exec`; the specification comes on descriptor 0, marshalled, so that no secret of it is ever a file or
an argument. Files in the run directory: `state` (process ids with start times), `log`, and at the end `exit`; `state` and `exit` are
`key=value` lines, written whole by rename.
"""

# The os module alone: this is on the way of every container start, and pathlib costs 4 ms to import.
# ruff: noqa: PTH103, PTH104, PTH112, PTH113, PTH118, PTH123

from __future__ import annotations

import marshal
import os
import select
import sys
import time
from typing import Any, NoReturn

from gastown.local.node import sandbox
from gastown.local.node import system_calls as calls
from gastown.local.node.log_writer import LogWriter

START_ERROR_EXIT_CODE = 128
_DRAIN_SECONDS = 0.5


def main() -> None:
    """Entry point of the child process; see the module's text for its descriptors."""
    specification = marshal.loads(_read_all(0))  # noqa: S302 - from our own agent through an inherited descriptor
    if sys.argv[1] == "exec":
        enter(specification)
    run(specification)


def run(specification: dict[str, Any]) -> None:
    """Start the container, follow it to its end, write `exit`."""
    for number in (calls.SIGHUP, calls.SIGINT, calls.SIGTERM, calls.SIGPIPE):
        calls.set_signal(number, calls.SIG_IGN)  # a shim ends when its container does, and never otherwise
    directory = specification["run_directory"]
    answer = specification["answer"]
    os.set_inheritable(answer, False)  # noqa: FBT003 - the stdlib's signature
    output, output_write = os.pipe()
    errors, errors_write = os.pipe()
    failure, failure_write = os.pipe()
    try:
        if specification["confined"]:
            sandbox.enter_user_namespace()
        else:
            calls.become_subreaper()
        process_id = os.fork()
    except OSError as error:
        _finish_unstarted(directory, answer, f"the sandbox could not be made: {error}")
        return
    if process_id == 0:
        _become_container(specification, output_write, errors_write, failure_write)
    for descriptor in (output_write, errors_write, failure_write):
        os.close(descriptor)
    process = os.pidfd_open(process_id)
    started = time.time()
    identities = {"shim": identify(os.getpid()), "init": identify(process_id)}
    write_lines(f"{directory}/state", {**identities, "started": started, "boot": _boot_id(), "confined": int(specification["confined"])})
    message = _read_all(failure).decode(errors="replace")
    os.close(failure)
    if message:
        os.waitpid(process_id, 0)
        _finish_unstarted(directory, answer, message)
        return
    _answer(answer, "started\n")
    with LogWriter(f"{directory}/log") as log:
        _follow(log, output, errors, process)
        _, status = os.waitpid(process_id, 0)
        if not specification["confined"]:
            end_descendants()
        log.drain(output, errors, _DRAIN_SECONDS)
    code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    write_lines(f"{directory}/exit", {"code": code, "started": started, "finished": time.time()})


def enter(specification: dict[str, Any]) -> NoReturn:
    """Run one more command inside a running container and end with its exit code; descriptors 1 and 2 are the caller's."""
    try:
        if specification["confined"]:
            sandbox.join(specification["process_id"])
        process_id = os.fork()
        if process_id == 0:
            calls.die_with_parent()
            _replace_descriptor(0, specification["stdin"])
            if specification["terminal"]:
                _take_terminal()
            _execute(specification)
    except OSError as error:
        os.write(2, f"{error}\n".encode())
        os._exit(START_ERROR_EXIT_CODE)
    _, status = os.waitpid(process_id, 0)
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _become_container(specification: dict[str, Any], output: int, errors: int, failure: int) -> NoReturn:
    """The child's whole life up to exec; what fails is told through `failure`, which exec closes."""
    try:
        calls.die_with_parent()
        os.setsid()
        _replace_descriptor(0, -1)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        _volunteer_for_memory_shortage()
        if specification["confined"]:
            sandbox.build_and_enter_root(specification["plan"], specification["root"], specification["hostname"])
        _execute(specification)
    except (OSError, ValueError) as error:
        invalid = f"invalid command, argument or environment: {error}"
        text = (error.strerror if isinstance(error, OSError) else invalid) or repr(error)
        os.write(failure, text.encode(errors="replace")[:3000])
    finally:
        os._exit(START_ERROR_EXIT_CODE)


def _take_terminal() -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _volunteer_for_memory_shortage() -> None:
    """When memory runs out, a container goes before the API server or the user's desktop, as on a kubelet."""
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"500")
        os.close(descriptor)
    except OSError:
        return


def _replace_descriptor(target: int, source: int) -> None:
    opened = os.open("/dev/null", os.O_RDWR) if source < 0 else source
    os.dup2(opened, target)


def _execute(specification: dict[str, Any]) -> NoReturn:
    directory = specification["working_directory"]
    if not os.path.isdir(directory):
        os.makedirs(directory)  # as container runtimes do
    os.chdir(directory)
    os.umask(0o022)
    for number in (calls.SIGHUP, calls.SIGINT, calls.SIGTERM, calls.SIGPIPE):
        calls.set_signal(number, calls.SIG_DFL)
    calls.drop_privileges()
    arguments, environment = specification["arguments"], specification["environment"]
    program = _find_program(arguments[0], environment.get("PATH", ""))
    try:
        os.execve(program, arguments, environment)  # noqa: S606 - this is what a container is
    except OSError as error:
        raise OSError(error.errno, f"exec {arguments[0]!r}: {error.strerror}") from error


def _find_program(name: str, search_path: str) -> str:
    if "/" in name:
        return name
    for directory in search_path.split(":"):
        candidate = os.path.join(directory or ".", name)
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    raise OSError(2, f"exec {name!r}: executable file not found in PATH ({search_path})")


def _follow(log: LogWriter, output: int, errors: int, process: int) -> None:
    poll = select.poll()
    for descriptor in (output, errors, process):
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == process:
                return
            if not log.copy(descriptor, "stdout" if descriptor == output else "stderr"):
                poll.unregister(descriptor)


def _finish_unstarted(directory: str, answer: int, message: str) -> None:
    now = time.time()
    fields = {"code": START_ERROR_EXIT_CODE, "started": now, "finished": now, "reason": "StartError", "message": message}
    write_lines(f"{directory}/exit", fields)
    _answer(answer, "failed\n")


def _answer(descriptor: int, text: str) -> None:
    try:
        os.write(descriptor, text.encode())
        os.close(descriptor)
    except OSError:
        return  # the agent is gone; it will read the files when it is back


def end_descendants() -> None:
    """Without a PID namespace: kill everything the container left behind. All of it hangs below this process, which is a subreaper."""
    while children := _children():
        for child in children:
            os.kill(child, 9)
        for child in children:
            os.waitpid(child, 0)


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as listing:
        return [int(number) for number in listing.read().split()]


def identify(process_id: int) -> str:
    """Process id and start time, which together name a process once per boot: `PID:TICKS`, or `PID:` when it is gone."""
    try:
        with open(f"/proc/{process_id}/stat", "rb") as stat:
            # The name may hold spaces and parentheses; fields are counted from after the last one.
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return f"{process_id}:"
    return f"{process_id}:{fields[19].decode()}"


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def write_lines(path: str, fields: dict[str, Any]) -> None:
    """Write `key=value` lines so that a reader sees all of them or no file."""
    text = "".join(f"{key}={str(value).replace(chr(10), ' ')}\n" for key, value in fields.items())
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, text.encode(errors="replace"))
    os.close(descriptor)
    os.rename(f"{path}.new", path)


def _read_all(descriptor: int) -> bytes:
    chunks = []
    while chunk := os.read(descriptor, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)

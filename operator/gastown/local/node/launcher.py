"""Starts shims, and commands inside running containers, without ever blocking the agent's event loop on them."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gastown
from gastown.local.node.run_files import ProcessIdentity

_SOURCE_ROOT = str(Path(gastown.__file__).parent.parent)
# `-c` and not the file itself: an imported module has compiled byte code next to it, and the node's modules do not land first on sys.path.
_BOOTSTRAP = f"import sys; sys.path.insert(0, {_SOURCE_ROOT!r}); from gastown.local.node.shim import main; main()"
# -S and -E: no site-packages, no PYTHON* variables; half the start time, and nothing of the user's gets in.
_INTERPRETER = (getattr(sys, "_base_executable", "") or sys.executable, "-S", "-E", "-c", _BOOTSTRAP)
_MAXIMUM_OUTPUT = 64 * 1024
_START_SECONDS = 60.0


async def start_shim(specification: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    """Start a container and return once its first instruction ran, or its `exit` file tells why it could not.

    Args:
        specification: See `container_spec.py`; strings, numbers, lists and dicts only.
    Returns:
        The shim; reap it with `poll()` after its end.
    Raises:
        OSError: Not even the shim could be started (no process, no memory, no descriptor left), or it hangs.
    """
    answer, answer_write = os.pipe()
    try:
        shim = _spawn("run", {**specification, "answer": answer_write}, pass_fds=(answer_write,))
    except BaseException:
        os.close(answer)
        raise
    finally:
        os.close(answer_write)
    try:
        async with asyncio.timeout(_START_SECONDS):
            await readable(answer)
    except TimeoutError:
        await kill_and_reap(shim)
        raise OSError(f"the sandbox was not made within {_START_SECONDS:g} s; does a mounted file system hang?") from None
    finally:
        os.close(answer)
    return shim


@dataclass(frozen=True, slots=True)
class CommandResult:
    """End of a command inside a container; `output` is the first 64 KiB of both streams."""

    code: int
    output: bytes


@dataclass(frozen=True, slots=True)
class RunningContainer:
    """What is needed to enter a container.

    Attributes:
        init: Its PID 1, by the host's number.
        environment: As its own command got it.
    """

    init: ProcessIdentity
    confined: bool
    environment: Mapping[str, str]
    working_directory: str


async def run_inside(container: RunningContainer, command: Sequence[str], timeout_seconds: float) -> CommandResult | None:
    """Run a command in a container to its end; None if it took too long and was killed."""
    output, output_write = os.pipe()
    try:
        process = spawn_inside(container, command, stdout=output_write, stderr=output_write)
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(output_write)
    os.set_blocking(output, False)
    collected = bytearray()
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                await readable(output)
                data = os.read(output, 65_536)
                if not data:
                    break
                collected += data[: max(0, _MAXIMUM_OUTPUT - len(collected))]
            return CommandResult(await wait_process(process), bytes(collected))
    except TimeoutError:
        return None
    finally:
        os.close(output)
        await kill_and_reap(process)


def spawn_inside(
    container: RunningContainer, command: Sequence[str], *, stdout: int, stderr: int, stdin: int | None = None, terminal: bool = False
) -> subprocess.Popen[bytes]:
    """Start a command inside a container, with these descriptors as its streams.

    Args:
        terminal: `stdin` is the slave of a pseudo-terminal and becomes the command's controlling one.
    """
    specification = {
        "process_id": container.init.process_id,
        "confined": container.confined,
        "arguments": list(command),
        "environment": dict(container.environment),
        "working_directory": container.working_directory,
        "stdin": -1 if stdin is None else stdin,
        "terminal": terminal,
    }
    return _spawn("exec", specification, stdout=stdout, stderr=stderr, pass_fds=() if stdin is None else (stdin,))


async def wait_process(process: subprocess.Popen[bytes]) -> int:
    """Exit code of a child, awaited without a thread; 128 + number for a signal."""
    if process.poll() is None:
        descriptor = os.pidfd_open(process.pid)
        try:
            await readable(descriptor)
        finally:
            os.close(descriptor)
        process.wait()
    code = process.returncode
    return code if code >= 0 else 128 - code


async def kill_and_reap(process: subprocess.Popen[bytes]) -> None:
    """End a child that should not run any longer; nothing happens if it has ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await wait_process(process)


async def readable(descriptor: int) -> None:
    """Return when a pipe has data or ended, or when the process behind a pidfd ended."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def _on_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, _on_ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _spawn(
    action: str,
    specification: Mapping[str, Any],
    *,
    pass_fds: tuple[int, ...],
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    # A memory file, not a pipe: it takes any size without a reader, and unlike a file or an argument nobody else can read it.
    memory = os.memfd_create("gastown-specification")
    try:
        with os.fdopen(os.dup(memory), "wb") as file:
            file.write(marshal.dumps(dict(specification)))
        os.lseek(memory, 0, os.SEEK_SET)
        return subprocess.Popen(
            [*_INTERPRETER, action],
            stdin=memory,
            stdout=stdout,
            stderr=stderr,
            env={},
            cwd="/",
            pass_fds=pass_fds,
            start_new_session=True,
        )
    finally:
        os.close(memory)

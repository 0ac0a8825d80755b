"""A container by itself: the real shim and the real sandbox, without any agent or API server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

import gastown
from gastown.local.node.launcher import RunningContainer, run_inside, start_shim, wait_process
from gastown.local.node.log_reader import read_entries
from gastown.local.node.mounts import Bind, plan_root
from gastown.local.node.run_files import ProcessIdentity, RunExit, RunState, read_exit, read_state
from gastown.local.node.sandbox_probe import CONFINED, probe_sandbox
from gastown.local.node.shim import identify
from gastown.local.node.state_directory import stop_all_containers
from support.eventually import eventually

# Ends itself even when everything that should end it fails.
FOREVER = "trap 'exit 143' TERM; n=0; while [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done"


class Box:
    """Runs containers in a folder laid out like a node's state directory."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._numbers = iter(range(1000))

    def specify(self, arguments: list[str], *, binds: list[Bind] | None = None, **fields: Any) -> tuple[Path, dict[str, Any]]:
        """A run directory and what goes to the shim."""
        directory = self.state / "pods" / f"pod-{next(self._numbers)}" / "containers" / "main" / "0"
        for name in ("root", "scratch"):
            (directory / name).mkdir(parents=True)
        visible = [sys.prefix, sys.base_prefix, str(Path(gastown.__file__).parent.parent)]
        specification = {
            "run_directory": str(directory),
            "confined": True,
            "root": str(directory / "root"),
            "hostname": "box",
            "plan": plan_root(binds or [], [str(Path.home()), str(self.state)], visible, str(directory / "scratch")),
            "arguments": arguments,
            "environment": {"PATH": "/usr/bin:/bin"},
            "working_directory": "/",
            **fields,
        }
        return directory, specification

    def run(self, script: str, **fields: Any) -> tuple[RunExit, str]:
        """Run a shell script to its end: how it ended, and its output."""
        arguments = fields.pop("arguments", ["sh", "-c", script])
        directory, specification = self.specify(arguments, **fields)

        async def _run() -> None:
            async with asyncio.timeout(20):
                await wait_process(await start_shim(specification))

        asyncio.run(_run())
        ended = read_exit(directory)
        assert ended is not None
        log = directory / "log"
        return ended, "".join(each.text.decode() + "\n" * each.is_full for each in read_entries(log)) if log.exists() else ""

    def start(self, script: str, **fields: Any) -> tuple[Path, RunState, subprocess.Popen[bytes]]:
        """Start a shell script and leave it running."""
        directory, specification = self.specify(["sh", "-c", script], **fields)
        shim = asyncio.run(start_shim(specification))
        state = read_state(directory)
        assert state is not None
        return directory, state, shim


@pytest.fixture
def box(tmp_path: Path) -> Any:
    if asyncio.run(probe_sandbox(tmp_path)) != CONFINED:
        pytest.skip("this machine forbids user namespaces")
    found = Box(tmp_path)
    yield found
    stop_all_containers(tmp_path, 1.0)


def test_exit_codes_and_signals_are_told_as_a_shell_tells_them(box: Box) -> None:
    assert box.run("exit 7")[0].code == 7
    # PID 1 of a namespace is immune to its own SIGKILL, so a child has to die here.
    assert box.run("sh -c 'kill -9 $$'; exit $?")[0].code == 137


def test_output_goes_to_the_log_with_its_stream(box: Box) -> None:
    directory, specification = box.specify(["sh", "-c", "echo out; echo err >&2; printf rest"])

    async def _run() -> None:
        await wait_process(await start_shim(specification))

    asyncio.run(_run())
    found = {(each.stream, each.text, each.is_full) for each in read_entries(directory / "log")}
    assert found == {("stdout", b"out", True), ("stderr", b"err", True), ("stdout", b"rest", False)}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["no-such-program"], "not found in PATH", id="not on PATH"),
        pytest.param(["/no/such/program"], "No such file", id="no such path"),
        pytest.param(["sh", "a\0b"], "null", id="a zero byte"),
        pytest.param(["/etc"], "Permission denied", id="a directory"),
        pytest.param(["sh", "x" * 200_000], "Argument list too long", id="an argument beyond the kernel's limit"),
    ],
)
def test_what_cannot_be_started_says_why(box: Box, arguments: list[str], told: str) -> None:
    ended, _ = box.run("", arguments=arguments)
    assert (ended.code, ended.reason) == (128, "StartError")
    assert told in ended.message


def test_the_container_is_alone_and_is_process_one(box: Box) -> None:
    _, output = box.run(f"echo $$; ls -d /proc/{os.getpid()} 2>&1; hostname; cat /proc/*/comm | sort -u | head -3")
    assert output.startswith("1\n")
    assert "No such file" in output
    assert "\nbox\n" in output


def test_it_holds_no_capability_and_cannot_uncover_the_host(box: Box) -> None:
    _, output = box.run("grep -E 'CapEff|CapPrm|NoNewPrivs' /proc/self/status; umount /tmp 2>&1; mount -t tmpfs x /mnt 2>&1; echo done")
    lines = output.split("\n")
    assert lines[0].split()[1] == lines[1].split()[1]
    assert int(lines[0].split()[1], 16) & ~(1 << 31) == 0
    assert lines[2].split()[1] == "1"
    assert "must be superuser" in output


def test_a_sandbox_can_be_made_inside_a_sandbox(box: Box, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    sources = [entry for entry in sys.path if entry and Path(entry).is_dir()]
    script = (
        f"import sys; sys.path[:] = {sources!r}\n"
        "import asyncio, pathlib\n"
        "from gastown.local.node.sandbox_probe import probe_sandbox\n"
        "print(asyncio.run(probe_sandbox(pathlib.Path('/work-inside'))))\n"
    )
    binds = [Bind("/work-inside", str(work), read_only=False)]
    ended, output = box.run("", arguments=[sys.executable, "-c", script], binds=binds)
    assert (ended.code, output) == (0, "namespaces\n")


def test_the_host_is_read_only_except_what_is_mounted_writable(box: Box, tmp_path: Path) -> None:
    kept, fixed = tmp_path / "kept", tmp_path / "fixed"
    kept.mkdir()
    fixed.mkdir()
    binds = [Bind("/workspace", str(kept), read_only=False), Bind("/var/lib/box-test/fixed", str(fixed), read_only=True)]
    _, output = box.run(
        "touch /workspace/a /tmp/b; for p in /usr /etc / /var/lib/box-test/fixed; do touch $p/x && echo wrote $p; done", binds=binds
    )
    assert "wrote" not in output
    assert [each.name for each in kept.iterdir()] == ["a"]
    assert list(fixed.iterdir()) == []


def test_a_single_file_can_be_mounted_also_into_dev(box: Box, tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.touch()
    box.run("printf message > /dev/termination-log", binds=[Bind("/dev/termination-log", str(note), read_only=False)])
    assert note.read_text() == "message"


def test_home_and_state_are_empty(box: Box) -> None:
    # A home below a hidden folder is not there at all.
    _, output = box.run(f"find {Path.home()} -maxdepth 1 -type f 2>/dev/null; find {box.state} -type f 2>/dev/null; echo end")
    assert output == "end\n"


def test_devices_work(box: Box) -> None:
    script = "echo x > /dev/null; head -c 4 /dev/urandom | wc -c; test -w /dev/shm && test -c /dev/ptmx && echo fine"
    assert box.run(script)[1] == "4\nfine\n"


def test_what_was_forked_off_ends_with_the_container(box: Box) -> None:
    marker = f"forked-{uuid.uuid4().hex}"
    box.run(f"(setsid sh -c '{FOREVER} # {marker}' &); sleep 0.2")
    assert not _commands_with(marker)


def test_sigkill_to_the_shim_ends_the_container(box: Box) -> None:
    marker = f"orphan-{uuid.uuid4().hex}"
    _, state, shim = box.start(f"{FOREVER} # {marker}")
    eventually(lambda: _commands_with(marker))
    assert state.shim.process_id == shim.pid
    shim.kill()
    shim.wait()
    eventually(lambda: not _commands_with(marker), describe="the container is gone")


def test_a_command_can_be_run_inside(box: Box) -> None:
    _, state, _ = box.start(f"touch /tmp/here; {FOREVER}")
    inside = RunningContainer(state.init, confined=True, environment={"PATH": "/usr/bin:/bin", "COLOR": "red"}, working_directory="/usr")

    async def _ask(command: list[str], seconds: float) -> Any:
        return await run_inside(inside, command, seconds)

    eventually(lambda: asyncio.run(_ask(["test", "-e", "/tmp/here"], 5)).code == 0)
    answer = asyncio.run(_ask(["sh", "-c", "pwd; echo $COLOR; hostname; exit 3"], 5))
    assert (answer.code, answer.output) == (3, b"/usr\nred\nbox\n")
    assert asyncio.run(_ask(["sleep", "20"], 0.3)) is None
    assert asyncio.run(_ask(["no-such"], 5)).code == 128


def test_stopping_all_gives_time_then_kills_and_needs_no_agent(box: Box) -> None:
    marker = f"all-{uuid.uuid4().hex}"
    polite, _, _ = box.start(f"{FOREVER} # {marker}")
    box.start(f"trap '' TERM; n=0; while [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done # {marker}")
    eventually(lambda: len(_commands_with(marker)) >= 2)
    begin = time.monotonic()
    assert stop_all_containers(box.state, 1.0) == 2
    assert time.monotonic() - begin < 30
    assert not _commands_with(marker)
    ended = read_exit(polite)
    assert ended is not None
    assert ended.code == 143


def test_stopping_all_never_touches_a_process_that_only_has_the_number(box: Box) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        _, ticks = identify(stranger.pid).split(":")
        directory, _ = box.specify(["true"])
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        (directory / "state").write_text(f"shim={stranger.pid}:1\ninit={stranger.pid}:{int(ticks) + 1}\nstarted=1.0\nboot={boot}\n")
        stop_all_containers(box.state, 0.5)
        assert stranger.poll() is None
        (directory / "state").write_text(f"shim={stranger.pid}:{ticks}\ninit={stranger.pid}:{ticks}\nstarted=1.0\nboot=another-boot\n")
        stop_all_containers(box.state, 0.5)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_identity_is_alive_only_while_its_process_runs() -> None:
    process = subprocess.Popen(["sleep", "60"])
    number, _, ticks = identify(process.pid).partition(":")
    identity = ProcessIdentity(int(number), ticks)
    assert identity.is_alive()
    assert identity.send_signal(signal.SIGKILL)
    eventually(lambda: not identity.is_alive(), describe="a zombie counts as gone")
    process.wait()
    assert not identity.send_signal(signal.SIGTERM)


def _commands_with(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found

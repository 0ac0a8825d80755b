"""Where the node keeps what must outlive its agent, and how to end everything in it when no agent lives.

pods/UID/pod.json                         which pod this is
pods/UID/hosts, volumes/NAME/             its /etc/hosts and disk volumes
pods/UID/containers/NAME/NUMBER/          one run: state, log, exit, termination-log, root/, scratch/
trash/                                    being deleted
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gastown.local.node.run_files import ProcessIdentity, RunState, current_boot_id, read_exit, read_state
from gastown.removal import remove_tree

# Marks the processes of an unconfined container in their environment, where no PID namespace ends them together.
RUN_MARKER = "GASTOWN_NODE_RUN"
_KILL_SECONDS = 2.0
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - our directory in it is checked to be ours


@dataclass(frozen=True, slots=True)
class PodRecord:
    """Content of pod.json."""

    namespace: str
    name: str
    uid: str
    restart_policy: str
    boot_id: str
    started: float


class PodFiles:
    """The directories of one pod."""

    def __init__(self, state_directory: Path, memory_directory: Path, uid: str) -> None:
        self._state_directory = state_directory
        self.uid = uid
        self.root = state_directory / "pods" / uid
        self.volumes = self.root / "volumes"
        self.memory = memory_directory / uid
        self.hosts = self.root / "hosts"

    def write_record(self, pod: Mapping[str, Any], started: float) -> PodRecord:
        """Make the directory and note which pod it belongs to."""
        metadata = pod["metadata"]
        policy = pod["spec"].get("restartPolicy", "Always")
        record = PodRecord(metadata["namespace"], metadata["name"], self.uid, policy, current_boot_id(), started)
        self.volumes.mkdir(parents=True, exist_ok=True)
        self.memory.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.root / "pod.json.new"
        fresh.write_text(json.dumps({name: getattr(record, name) for name in PodRecord.__slots__}), encoding="utf-8")
        fresh.rename(self.root / "pod.json")
        return record

    def read_record(self) -> PodRecord | None:
        """The note, or None if this pod was never taken on here."""
        try:
            return PodRecord(**json.loads((self.root / "pod.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def runs(self, container: str) -> list[Path]:
        """Run directories of a container, oldest first."""
        return sorted(_numbered(self.root / "containers" / container), key=lambda path: int(path.name))

    def new_run(self, container: str, number: int) -> Path:
        """An empty directory for a run; only the run before it is kept beside it, as `kubectl logs --previous` needs."""
        for old in self.runs(container):
            if int(old.name) >= number or int(old.name) < number - 1:
                self.discard(old)
            else:
                remove_tree(old / "scratch")
        path = self.root / "containers" / container / str(number)
        path.mkdir(parents=True)
        return path

    def discard(self, path: Path) -> None:
        """Take a directory away at once and delete its content afterwards; a late writer loses its path, not the new run its files."""
        if path.exists():
            trash = self._state_directory / "trash"
            trash.mkdir(exist_ok=True)
            aside = trash / f"{self.uid}-{path.name}-{time.time_ns()}"
            path.rename(aside)
            remove_tree(aside)

    def remove(self) -> None:
        """Delete all of the pod; may take long, so call it in a thread."""
        self.discard(self.root)
        remove_tree(self.memory)


def known_pods(state_directory: Path) -> list[str]:
    """Uids of all pods that have a directory."""
    root = state_directory / "pods"
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


def memory_directory(state_directory: Path) -> Path:
    """The directory on a memory file system that belongs to a state directory; below the latter where there is none.

    Raises:
        PermissionError: Somebody else made a directory of that name.
    """
    path = _memory_path(state_directory)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to somebody else, so secrets cannot be kept in it; remove it and start again")
    path.chmod(0o700)
    return path


def _memory_path(state_directory: Path) -> Path:
    name = f"gastown-node-{os.geteuid()}-{hashlib.sha256(str(state_directory.resolve()).encode()).hexdigest()[:12]}"
    base = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else state_directory
    return base / name


def running(state_directory: Path, uids: Iterable[str] | None = None) -> list[tuple[Path, RunState]]:
    """Runs whose processes may still live, of all pods or of some."""
    found = []
    boot_id = current_boot_id()
    for uid in known_pods(state_directory) if uids is None else uids:
        for path in (state_directory / "pods" / uid).glob("containers/*/*"):
            state = read_state(path)
            if state is not None and state.boot_id == boot_id and read_exit(path) is None:
                found.append((path, state))
    return found


def stop_all_containers(state_directory: Path, grace_seconds: float = 5.0) -> int:
    """End every container of a node whose agent is dead or about to be; works on the state directory alone.

    Pods that never restart (sessions, gates) go first, so that what they still talk to is there while they save their work.
    Memory volumes go too, as at a reboot: a town that is down keeps no secret and no token. A process is signalled only if its start
    time is the recorded one, so no stranger is ever hit.

    Returns:
        How many containers were running.
    """
    state_directory = Path(state_directory)
    runs = running(state_directory)
    policies = {uid: PodFiles(state_directory, state_directory, uid).read_record() for uid in known_pods(state_directory)}
    never = [run for run in runs if (record := policies.get(run[0].parts[-4])) is not None and record.restart_policy == "Never"]
    deadline = time.monotonic() + grace_seconds
    # The first wave leaves the second at least a third of the time.
    stop_runs(never, time.monotonic() + grace_seconds * 2 / 3)
    stop_runs([run for run in runs if run not in never], deadline)
    remove_tree(_memory_path(state_directory))
    return len(runs)


def stop_runs(runs: Iterable[tuple[Path, RunState]], deadline: float) -> None:
    """SIGTERM to each PID 1, SIGKILL at the deadline (monotonic), and nothing is left of them on return."""
    runs = [run for run in runs if run[1].shim.is_alive() or run[1].init.is_alive()]
    for _, state in runs:
        state.init.send_signal(signal.SIGTERM)
    identities = [identity for _, state in runs for identity in (state.init, state.shim)]
    wait_gone(identities, deadline)
    for _, state in runs:
        state.init.send_signal(signal.SIGKILL)
    wait_gone(identities, time.monotonic() + _KILL_SECONDS)
    for path, state in runs:
        state.shim.send_signal(signal.SIGKILL)
        sweep_marked(path)


def wait_gone(identities: Iterable[ProcessIdentity], deadline: float) -> None:
    """Return when all these processes are gone, or at the deadline (monotonic)."""
    descriptors = [descriptor for descriptor in (identity.open() for identity in identities) if descriptor is not None]
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    left = len(descriptors)
    while left and (seconds := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(seconds * 1000):
            poll.unregister(descriptor)
            left -= 1
    for descriptor in descriptors:
        os.close(descriptor)


def sweep_marked(run_directory: Path) -> None:
    """Kill what an unconfined container left behind after its supervisor was killed: only its environment still tells whose it is."""
    marker = f"{RUN_MARKER}={run_directory}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            marked = marker in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if marked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)


def _numbered(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name.isdigit()] if directory.is_dir() else []

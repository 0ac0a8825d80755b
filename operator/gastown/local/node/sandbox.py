"""Builds the private world of one container out of the host's files, without root.

Runs inside the shim (stdlib only, few imports); `mounts.py` in the agent decides what goes where, this module only carries it out.
It is a convenience (real paths, no leftovers, no view of the user's home), not a trust boundary like a kubelet's: network and user
id are the host's.
"""

# The os module alone: this is on the way of every container start, and pathlib costs 4 ms to import.
# ruff: noqa: PTH102, PTH103, PTH120, PTH211

from __future__ import annotations

import os
from typing import Any

from gastown.local.node import system_calls as calls

# Writable for uid 0 by file mode alone, without any capability: read-only when the node runs as root.
_DANGEROUS_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)


def enter_user_namespace() -> None:
    """Give the caller its own user namespace, where it is itself; its next child is PID 1 of a new PID namespace."""
    user, group = os.geteuid(), os.getegid()
    calls.unshare(calls.CLONE_NEWUSER | calls.CLONE_NEWPID)
    # The kernel lets an ordinary user map its group only after it gave up setgroups.
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(descriptor, text.encode())
        os.close(descriptor)


def build_and_enter_root(plan: dict[str, Any], root: str, hostname: str) -> None:
    """Make the root directory that `mounts.plan_root` describes and pivot into it. Must run as PID 1 of the new PID namespace."""
    calls.unshare(calls.CLONE_NEWNS | calls.CLONE_NEWUTS)
    calls.mount("", "/", "", calls.MS_REC | calls.MS_PRIVATE)
    calls.mount("tmpfs", root, "tmpfs", calls.MS_NOSUID | calls.MS_NODEV, "mode=755")
    # Else the bind of the tree in which this root lies would contain the half-built root, and the mount table doubles.
    calls.mount("", root, "", calls.MS_UNBINDABLE)
    _make_skeleton(plan["skeleton"], root)
    calls.make_read_only(root)
    _mount_proc(root)
    _make_devices(f"{root}/dev")
    for is_directory, source, target, read_only in plan["mounts"]:
        _bind(source, root + target, is_directory=is_directory)
        if read_only:
            calls.make_read_only(root + target)
    calls.sethostname(hostname[:63])
    calls.pivot_into(root)


def _make_skeleton(operations: list[tuple[str, str, str]], root: str) -> None:
    for kind, path, argument in operations:
        target = root + path
        if kind == "directory":
            os.mkdir(target, 0o755)
        elif kind == "file":
            _make_mount_point(target, is_directory=False)
        elif kind == "link":
            os.symlink(argument, target)
        else:
            try:
                _bind(path, target, is_directory=kind == "bind-directory")
            except OSError:
                continue  # another user's FUSE mount, a file that just went: such a neighbour is not worth a failed start


def _bind(source: str, target: str, *, is_directory: bool) -> None:
    if not os.path.lexists(target):
        _make_mount_point(target, is_directory=is_directory)
    calls.mount(source, target, "", calls.MS_BIND | calls.MS_REC)


def _make_mount_point(target: str, *, is_directory: bool) -> None:
    if is_directory:
        os.makedirs(target, 0o755)
        return
    os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))


def _mount_proc(root: str) -> None:
    try:
        calls.mount("proc", f"{root}/proc", "proc", calls.MS_NOSUID | calls.MS_NODEV | calls.MS_NOEXEC)
    except PermissionError:
        # Inside another container whose /proc is masked the kernel refuses a fresh one. Names of foreign processes show then; their
        # memory does not.
        calls.mount("/proc", f"{root}/proc", "", calls.MS_BIND | calls.MS_REC)
    if os.geteuid() == 0:
        for name in _DANGEROUS_PROC:
            path = f"{root}/proc/{name}"
            if os.path.lexists(path):
                calls.mount(path, path, "", calls.MS_BIND | calls.MS_REC)
                calls.make_read_only(path)


def _make_devices(directory: str) -> None:
    calls.mount("tmpfs", directory, "tmpfs", calls.MS_NOSUID, "mode=755")
    for name in _DEVICES:
        _bind(f"/dev/{name}", f"{directory}/{name}", is_directory=False)
    for name, target in _DEVICE_LINKS:
        os.symlink(target, f"{directory}/{name}")
    os.mkdir(f"{directory}/shm")
    calls.mount("tmpfs", f"{directory}/shm", "tmpfs", calls.MS_NOSUID | calls.MS_NODEV, "mode=1777")
    os.mkdir(f"{directory}/pts")
    try:
        calls.mount("devpts", f"{directory}/pts", "devpts", calls.MS_NOSUID | calls.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    except OSError:
        calls.mount("/dev/pts", f"{directory}/pts", "", calls.MS_BIND | calls.MS_REC)


def join(process_id: int) -> None:
    """Enter the namespaces of a running container; the caller's next child lives inside."""
    kinds = (("user", calls.CLONE_NEWUSER), ("mnt", calls.CLONE_NEWNS), ("pid", calls.CLONE_NEWPID), ("uts", calls.CLONE_NEWUTS))
    # All files are opened first: after the mount namespace changed, /proc is the container's and knows other numbers.
    descriptors = [(os.open(f"/proc/{process_id}/ns/{name}", os.O_RDONLY), kind) for name, kind in kinds]
    for descriptor, kind in descriptors:
        calls.setns(descriptor, kind)
        os.close(descriptor)

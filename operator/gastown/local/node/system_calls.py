"""The few Linux calls Python has no name for, as thin as possible.

Only the shim and its sandbox use this module. It imports nothing but ctypes and os: it is on the way of every container start,
where `import signal` alone costs 3 ms.
"""

# The os module alone: this is on the way of every container start, and pathlib costs 4 ms to import.
# ruff: noqa: PTH123

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18

SIGHUP, SIGINT, SIGPIPE, SIGTERM = 1, 2, 13, 15
SIG_DFL, SIG_IGN = 0, 1

_MNT_DETACH = 2
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_SYS_MOUNT_SETATTR = 442  # one number on every architecture, as for all calls after 424
_MOUNT_ATTR_RDONLY = 0x1
_MOUNT_ATTR_NOSUID = 0x2
_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_POSSIBLE_CAPABILITY = 63
_CAP_SETFCAP = 31

_libc = ctypes.CDLL(None, use_errno=True)
# The default is a 32-bit int: pointers and 64-bit flags would be cut.
_libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
_libc.signal.restype = ctypes.c_void_p
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Give the calling process new namespaces (CLONE_NEW*)."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move the calling process into the namespace behind an open /proc/PID/ns file."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, filesystem: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2); an empty filesystem or option string is passed as NULL."""
    result = _libc.mount(os.fsencode(source), os.fsencode(target), filesystem.encode() or None, flags, options.encode() or None)
    _check(result, f"mount {source or filesystem} on {target}")


def make_read_only(target: str) -> None:
    """Make a mount and all mounts below it read-only (Linux 5.12); older kernels get one remount per mount."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, 0, 0)
    arguments = (ctypes.c_int(_AT_FDCWD), os.fsencode(target), ctypes.c_uint(_AT_RECURSIVE), ctypes.byref(attributes), ctypes.c_size_t(32))
    if _libc.syscall(ctypes.c_long(_SYS_MOUNT_SETATTR), *arguments) < 0:
        _remount_each_read_only(target)


def _remount_each_read_only(target: str) -> None:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        mounts = [line.split(" ", 6)[4:6] for line in table]
    for path, options in mounts:
        # Spaces and such are written as octal escapes there; a path with them stays writable only to its own owner.
        if path == target or path.startswith(target + "/"):
            # Flags that came with the mount are locked in a user namespace and must be named again.
            kept = sum(
                flag for name, flag in (("nosuid", MS_NOSUID), ("nodev", MS_NODEV), ("noexec", MS_NOEXEC)) if name in options.split(",")
            )
            mount("", path, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def pivot_into(new_root: str) -> None:
    """Make `new_root` the root directory and let go of the old one."""
    os.chdir(new_root)
    # Both arguments "." stacks the old root on top of the new one, so no directory for it is needed.
    _check(_libc.pivot_root(b".", b"."), f"pivot_root {new_root}")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount2 of the old root")
    os.chdir("/")


def sethostname(name: str) -> None:
    """Set the host name of the calling process's UTS namespace."""
    data = name.encode()
    _check(_libc.sethostname(data, len(data)), "sethostname")


def set_signal(number: int, disposition: int) -> None:
    """SIG_DFL or SIG_IGN for one signal, without the import of the signal module."""
    _libc.signal(number, disposition)


def die_with_parent() -> None:
    """Have the kernel kill the caller when its parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def become_subreaper() -> None:
    """Orphaned descendants become children of the caller."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl PR_SET_CHILD_SUBREAPER")


def drop_privileges() -> None:
    """Give up every capability for good; exec of a set-uid program gains nothing either.

    A user namespace hands out all capabilities over its own mounts, and a process of uid 0 would keep them over exec and could unmount
    what masks the host.
    CAP_SETFCAP alone stays with uid 0: without it root can not make a user namespace of its own, as agents' own sandboxes do.
    """
    for capability in range(_LAST_POSSIBLE_CAPABILITY + 1):
        if capability != _CAP_SETFCAP and _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # past the kernel's last capability, or none held
    kept = 1 << _CAP_SETFCAP if os.geteuid() == 0 else 0
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable; then the same for capabilities from 32 on.
    sets = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(sets)), "capset")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl PR_SET_NO_NEW_PRIVS")

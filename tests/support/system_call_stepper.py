"""Runs a command and kills it, with all its descendants, right before its n-th system call that can change something outside of itself.

    python system_call_stepper.py N COMMAND...      N = 0: never; tells on stdout how many such calls there were

A seccomp filter, inherited by every child, stops a process before each call that may change the file system or send something to a
server; ptrace hands these stops to us, and follows forks, vforks and threads. Calls in between (read, stat, mmap, wait...) change nothing
that anybody else could see, so "before each of these calls" is "between any two system calls". An ordinary user may do this to its own
children; nothing has to be installed. Linux on x86-64 only. A program of its own, since it must wait for all its children alike.

Last line of stdout: `killed CALL` or `ended EXIT_CODE COUNT`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import struct
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_LIBC.ptrace.restype = ctypes.c_long

_TRACEME, _CONT, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 7, 0x4200, 0x420E
_FORK, _VFORK, _CLONE, _EXEC, _SECCOMP, _EXITKILL = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 7, 1 << 20
_SECCOMP_EVENT = 7
_WALL = 0x40000000

# Calls on a path: always.
_ON_PATHS = {
    76: "truncate", 82: "rename", 83: "mkdir", 84: "rmdir", 85: "creat", 86: "link", 87: "unlink", 88: "symlink", 90: "chmod", 92: "chown",
    94: "lchown", 132: "utime", 133: "mknod", 188: "setxattr", 189: "lsetxattr", 197: "removexattr", 198: "lremovexattr", 235: "utimes",
    258: "mkdirat", 259: "mknodat", 260: "fchownat", 261: "futimesat", 263: "unlinkat", 264: "renameat", 265: "linkat", 266: "symlinkat",
    268: "fchmodat", 280: "utimensat", 316: "renameat2", 437: "openat2", 452: "fchmodat2",
}  # fmt: skip
# Calls on a descriptor (the argument of that number): only where it is a file or a socket. What goes into a pipe stays among them.
_ON_DESCRIPTORS = {
    1: ("write", 0), 18: ("pwrite64", 0), 20: ("writev", 0), 40: ("sendfile", 0), 44: ("sendto", 0), 46: ("sendmsg", 0),
    77: ("ftruncate", 0), 91: ("fchmod", 0), 93: ("fchown", 0), 190: ("fsetxattr", 0), 199: ("fremovexattr", 0), 275: ("splice", 2),
    285: ("fallocate", 0), 296: ("pwritev", 0), 307: ("sendmmsg", 0), 326: ("copy_file_range", 2), 328: ("pwritev2", 0),
}  # fmt: skip
# Opening: only with flags that may create or empty a file, or write to it (the argument of that number).
_OPENING = {2: ("open", 1), 257: ("openat", 2)}
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_HARMLESS = ("pipe:", "anon_inode:", "/dev/null", "/dev/pts/")

_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_ARCHITECTURE = 0xC000003E


def can_step() -> bool:
    """Whether this machine is one the table of calls is for."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def _filter() -> bytes:
    """The classic BPF program: allow, or stop for the tracer."""
    lines: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURE),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, 0),
    ]
    for number in (*_ON_PATHS, *_ON_DESCRIPTORS):
        lines += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _TRACE)]
    for number, (_, argument) in _OPENING.items():
        flags = 16 + 8 * argument
        lines += [
            (_JUMP_EQUAL, 0, 4, number), (_LOAD, 0, 0, flags), (_JUMP_ANY_BIT, 0, 1, _WRITING_FLAGS), (_RETURN, 0, 0, _TRACE),
            (_RETURN, 0, 0, _ALLOW),
        ]  # fmt: skip
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _ptrace(request: int, process: int, address: int = 0, data: object = 0) -> int:
    result: int = _LIBC.ptrace(request, process, address, data)
    return result


def _start(command: list[str]) -> int:
    program = _filter()
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a count and, at the next multiple of eight, a pointer
    described = struct.pack("H6xP", len(program) // 8, ctypes.addressof(buffer))
    child = os.fork()
    if child == 0:
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)  # until our options are set
        if _LIBC.prctl(38, 1, 0, 0, 0) or _LIBC.prctl(22, 2, described, 0, 0):
            os._exit(125)
        os.execvp(command[0], command)  # noqa: S606 - the command under test
    return child


def _call_of(process: int) -> tuple[int, tuple[int, ...]]:
    answer = ctypes.create_string_buffer(128)
    if _ptrace(_GET_SYSCALL_INFO, process, 128, ctypes.cast(answer, ctypes.c_void_p)) < 0:
        return -1, ()
    number, *arguments = struct.unpack_from("7Q", answer.raw, 24)
    return number, tuple(arguments)


def _describe(process: int) -> str:
    """The call a process is about to make; "" when it can change nothing that outlives the processes."""
    number, arguments = _call_of(process)
    if number in _ON_DESCRIPTORS:
        name, argument = _ON_DESCRIPTORS[number]
        try:
            target = str(Path(f"/proc/{process}/fd/{arguments[argument] & 0xFFFFFFFF}").readlink())
        except OSError:
            return ""
        return "" if target.startswith(_HARMLESS) else f"{name} {target}"
    return _ON_PATHS.get(number) or _OPENING.get(number, ("", 0))[0]


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # a thread whose process is dead already
        os.kill(process, signal.SIGKILL)


def step(command: list[str], kill_before: int) -> str:
    """Run the command; the last line of the output."""
    first = _start(command)
    os.waitpid(first, _WALL)
    _ptrace(_SETOPTIONS, first, 0, _FORK | _VFORK | _CLONE | _EXEC | _SECCOMP | _EXITKILL)
    _ptrace(_CONT, first)
    known, count, exit_code, killed_at = {first}, 0, 0, ""
    while True:
        try:
            process, status = os.waitpid(-1, _WALL)
        except ChildProcessError:
            return f"killed {killed_at}" if killed_at else f"ended {exit_code} {count}"
        if not os.WIFSTOPPED(status):
            known.discard(process)
            exit_code = os.waitstatus_to_exitcode(status) if process == first else exit_code
            continue
        is_new = process not in known
        known.add(process)
        if killed_at:
            _kill(process)
            continue
        event, number = status >> 16, os.WSTOPSIG(status)
        if event == _SECCOMP_EVENT and (call := _describe(process)):
            count += 1
            if count == kill_before:
                killed_at = call
                for other in known:
                    _kill(other)
                continue
        _ptrace(_CONT, process, 0, 0 if event or (is_new and number == signal.SIGSTOP) else number)


if __name__ == "__main__":
    print(step(sys.argv[2:], int(sys.argv[1])))

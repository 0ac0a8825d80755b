"""Builds the programs that were found nowhere, from the pinned Go modules, into the user's cache.

Two `make` at once are the normal case in a team's CI: one builds, the other waits and finds. A program gets its final name only after
it was built to the end, flushed to disk and seen to run.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gastown.local.binaries import ask_version, cached_path
from gastown.local.errors import LocalTownError, quote_log
from gastown.local.go_toolchain import GoToolchain, get_toolchain
from gastown.local.pinned_programs import BUILD_FLAGS, PROGRAMS, Program
from gastown.local.progress import LiveLine

_BUILD_SECONDS = 3600.0


def build_programs(
    programs: Sequence[Program], cache: Path, environment: Mapping[str, str], report: Callable[[str], None]
) -> dict[str, Path]:
    """Build programs, or wait for another process that does.

    Args:
        programs: What is missing.
        cache: The user's cache folder.

    Returns:
        Paths by name.

    Raises:
        LocalTownError: No Go, or a build failed; nothing half-built is left under a final name.
    """
    folder = cache / "binaries"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalTownError(f"can not make {folder}: {error.strerror}; set XDG_CACHE_HOME to a folder that you may write") from error
    with _build_lock(folder / "lock"):
        missing = [program for program in programs if not cached_path(program, cache).exists()]
        if missing:
            report(f"building {', '.join(program.name for program in missing)} from source, once; later starts take them from {folder}")
            _remove_leftovers(folder)
            toolchain = get_toolchain(cache, environment)
            for number, program in enumerate(missing, start=1):
                _build(program, cache, toolchain, f"building {program.name} {program.version_text} ({number} of {len(missing)})")
            toolchain.clean()
            _remove_outdated(folder)
    return {program.name: cached_path(program, cache) for program in programs}


def _build(program: Program, cache: Path, toolchain: GoToolchain, title: str) -> None:
    final = cached_path(program, cache)
    log = cache / "binaries" / f"build-{program.name}.log"
    temporary = cache / "binaries" / f".building-{program.name}"
    command = [str(toolchain.executable), "build", *BUILD_FLAGS, "-ldflags", program.linker_flags, "-o", str(temporary), program.package]
    try:
        with LiveLine(title), log.open("wb") as output:
            _run(command, program.folder, toolchain.environment, output.fileno(), log)
        version = ask_version(temporary, program)
        if version != program.version:
            raise LocalTownError(f"{program.name} was built but says it is {version}, not {program.version_text}.{quote_log(log)}")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(final)
    finally:
        temporary.unlink(missing_ok=True)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str], output: int, log: Path) -> None:
    # In a group of its own: go starts compilers and linkers, which must end with it.
    process = subprocess.Popen(
        command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
    )
    try:
        code = process.wait(timeout=_BUILD_SECONDS)
    except BaseException:
        os.killpg(process.pid, 9)
        process.wait()
        raise
    if code != 0:
        raise LocalTownError(
            f"{' '.join(command[:2])} {command[-1]} failed with exit code {code}; is the Go module proxy reachable, and is there 5 GB of "
            f"free disk? Try again, or set KUBEBUILDER_ASSETS to a folder with the programs.{quote_log(log)}"
        )


@contextmanager
def _build_lock(file: Path) -> Iterator[None]:
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with LiveLine("waiting for another process that builds the programs"):
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _remove_leftovers(folder: Path) -> None:
    # We hold the lock, so whoever began these is dead.
    for file in folder.glob(".building-*"):
        file.unlink(missing_ok=True)


def _remove_outdated(folder: Path) -> None:
    """Remove programs of former pins when they were not used for a month; other checkouts may still be on them."""
    import time

    current = {program.digest for program in PROGRAMS}
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in current and time.time() - entry.stat().st_atime > 30 * 86400:
            shutil.rmtree(entry, ignore_errors=True)

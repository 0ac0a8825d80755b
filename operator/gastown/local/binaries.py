"""Finds the programs of the local town: $KUBEBUILDER_ASSETS, then PATH, then the user's cache; else has them built, once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gastown.local.atomic_file import write_atomically
from gastown.local.errors import LocalTownError
from gastown.local.pinned_programs import PROGRAMS, Program, Version, parse_version

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
_VERSION_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Programs:
    """Where each program is."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kubectl: Path
    helm: Path


def find_programs(report: Callable[[str], None], environment: Mapping[str, str] = os.environ) -> Programs:
    """Find all programs; build those that are nowhere.

    Args:
        report: Told what is passed over or built, one line each.

    Raises:
        LocalTownError: Not Linux, no Go to build with, or a build failed; says what to do.
    """
    if not sys.platform.startswith("linux"):
        raise LocalTownError(
            f"the local town needs Linux, this is {sys.platform}: use a Linux machine, or install the chart into another cluster "
            "such as kind, with: helm install gastown charts/gastown -n gastown-system --create-namespace"
        )
    cache = cache_directory(environment)
    found = {program.name: find_program(program, environment, cache, report) for program in PROGRAMS}
    missing = [program for program in PROGRAMS if found[program.name] is None]
    if missing:
        from gastown.local.go_build import build_programs

        found |= build_programs(missing, cache, environment, report)
    return Programs(**{name.replace("-", "_"): path for name, path in found.items() if path is not None})


def find_program(program: Program, environment: Mapping[str, str], cache: Path, report: Callable[[str], None]) -> Path | None:
    """Where a program of a fitting version is; None if it has to be built."""
    versions = _VersionMemory(cache / "versions.json")
    for place, candidate in _candidates(program, environment):
        version = versions.version_of(candidate, program)
        if version is not None and program.fits(version):
            return candidate
        told = ".".join(map(str, version)) if version else "of unknown version"
        if place == ASSETS_VARIABLE:  # asked for by name, so say why it is not taken; a kubectl on PATH is just there
            report(f"passing over {candidate}, which is {told}: {program.name} {program.wish} is needed")
    cached = cached_path(program, cache)
    return cached if cached.exists() else None


def cached_path(program: Program, cache: Path) -> Path:
    """Where the cache has a program once it is built. What is there was seen to run before it got this name."""
    return cache / "binaries" / program.digest / program.name


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's cache: $XDG_CACHE_HOME/gastown (~/.cache/gastown)."""
    cache_home = environment.get("XDG_CACHE_HOME", "")
    return (Path(cache_home) if cache_home.startswith("/") else Path.home() / ".cache") / "gastown"


def ask_version(executable: Path, program: Program, timeout_seconds: float = _VERSION_SECONDS) -> Version | None:
    """Run a program to see its version; None when it does not run or says nothing of the kind."""
    try:
        answer = subprocess.run(
            [str(executable), *program.version_arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=timeout_seconds,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stdout.decode("utf-8", "replace")) if answer.returncode == 0 else None


def _candidates(program: Program, environment: Mapping[str, str]) -> list[tuple[str, Path]]:
    candidates = []
    if assets := environment.get(ASSETS_VARIABLE, ""):
        file = Path(assets) / program.name
        if os.access(file, os.X_OK):
            candidates.append((ASSETS_VARIABLE, file.absolute()))
    if on_path := shutil.which(program.name, path=environment.get("PATH", os.defpath)):
        candidates.append(("PATH", Path(on_path).absolute()))
    return candidates


class _VersionMemory:
    """Versions that programs told before: asking six of them takes half a second, and it is done at each `gt up`.

    Args:
        file: Holds path, size and modification time of the executable with its version; any change of these asks again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def version_of(self, executable: Path, program: Program) -> Version | None:
        try:
            state = executable.stat()
        except OSError:
            return None
        key = f"{executable.resolve()} {state.st_size} {state.st_mtime_ns}"
        memory = self._read()
        if (known := parse_version(memory.get(key, ""))) is not None:
            return known
        version = ask_version(executable, program)
        if version is not None:
            self._write({**memory, key: ".".join(map(str, version))})
        return version

    def _read(self) -> dict[str, str]:
        try:
            content = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}

    def _write(self, memory: dict[str, str]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps(memory, indent=1))
        except OSError:  # only slower next time
            return

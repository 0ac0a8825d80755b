"""Plans the root directory of a sandbox: what of the host shows, what is covered, and where volumes go.

Read by the agent only; it looks at the host's directories but changes nothing. `sandbox.py` carries the plan out.
"""

# Paths are text here: they are compared with mount points, joined to them, and passed on to the shim.
# ruff: noqa: PTH101, PTH103, PTH110, PTH112, PTH114, PTH115, PTH118, PTH120

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Sockets of the user's session, X11, agents and other people's files live here: each container gets its own, empty.
ALWAYS_MASKED = ("/tmp", "/var/tmp", "/run")  # noqa: S108 - named to be covered, not used
_KERNEL_DIRECTORIES = ("/proc", "/dev")


@dataclass(frozen=True, slots=True)
class Bind:
    """One file or directory of the host shown inside the sandbox.

    Attributes:
        target: Absolute path inside the container, as the pod wrote it.
        source: Absolute path on the host; it exists.
    """

    target: str
    source: str
    read_only: bool


def plan_root(volumes: Iterable[Bind], masked: Iterable[str], visible: Iterable[str], scratch: str) -> dict[str, Any]:
    """Describe a root directory for `sandbox.build_and_enter_root`.

    Args:
        volumes: What the pod mounts. A volume hides whatever the host has there.
        masked: Host directories that each get an empty, writable stand-in below `scratch`.
        visible: Host paths that stay visible, read-only, even below a masked directory.
        scratch: Directory of this container for the stand-ins; it exists.
    Returns:
        `skeleton`: (kind, path, argument) in the order of making; `mounts`: (is directory, source, target, read only), outermost first.
    """
    covers = {path for path in map(os.path.realpath, (*ALWAYS_MASKED, *masked)) if os.path.isdir(path)}
    covers = {path for path in covers if not _is_below_any(path, _KERNEL_DIRECTORIES)}  # those are always made afresh
    shown = {
        target: os.path.realpath(path)
        for path in visible
        for target in (_resolve(path, covers), os.path.realpath(path))
        if os.path.exists(path) and _is_below_any(target, covers)
    }
    entries: dict[str, Bind] = {}
    # A cover inside a cover would only show its name, unless something visible lies between them.
    needed = (path for path in sorted(covers) if not _is_below_any(path, covers - {path}) or _is_below_any(path, shown))
    for number, path in enumerate(needed):
        stand_in = f"{scratch}/{number}"
        os.makedirs(stand_in, exist_ok=True)
        os.chmod(stand_in, 0o1777 if path in ALWAYS_MASKED else 0o755)
        entries[path] = Bind(path, stand_in, read_only=False)
    entries |= {target: Bind(target, source, read_only=True) for target, source in shown.items()}
    volume_entries = {_resolve(volume.target, covers): volume for volume in volumes}
    # What lies below a volume belongs to the volume: mount points of ours must not appear in somebody's claim.
    entries = {path: bind for path, bind in entries.items() if not _is_below_any(path, volume_entries)}
    entries.update(volume_entries)
    ordered = sorted(entries.items(), key=lambda item: (item[0].count("/"), item[0]))
    mounts = [(os.path.isdir(bind.source), bind.source, path, bind.read_only) for path, bind in ordered]
    return {"skeleton": _skeleton([(path, is_directory) for is_directory, _, path, _ in mounts]), "mounts": mounts}


def _resolve(path: str, covers: Iterable[str]) -> str:
    """Follow the host's symbolic links as far as the host will be seen there; below a cover the path is taken literally."""
    resolved = "/"
    parts = [part for part in os.path.normpath(path).split("/") if part]
    for position, part in enumerate(parts):
        step = os.path.join(resolved, part)
        resolved = os.path.realpath(step) if os.path.islink(step) else step
        if resolved in covers:
            return os.path.join(resolved, *parts[position + 1 :])
    return resolved


def _is_below_any(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def _skeleton(mount_points: list[tuple[str, bool]]) -> list[tuple[str, str, str]]:
    """Bind the host's top level, and rebuild as real directories only those that lack a mount point."""
    rebuilt = {"/"}
    outermost = list(_KERNEL_DIRECTORIES)
    missing: list[tuple[str, bool]] = []
    for path, is_directory in mount_points:
        if _is_below_any(path, outermost):
            continue  # made inside the volume or stand-in that is mounted there first
        outermost.append(path)
        if os.path.lexists(path) and os.path.isdir(path) == is_directory:
            continue
        missing.append((path, is_directory))
        parent = os.path.dirname(path)
        while parent != "/":
            rebuilt.add(parent)
            parent = os.path.dirname(parent)
    replaced = {path for path, _ in missing}
    operations: list[tuple[str, str, str]] = []
    _copy_directory("/", rebuilt, replaced, operations)
    made = {path for _, path, _ in operations}
    operations += [("directory", path, "") for path in sorted(rebuilt - made - {"/"}, key=len)]
    operations += [("directory" if is_directory else "file", path, "") for path, is_directory in missing]
    return operations


def _copy_directory(directory: str, rebuilt: set[str], replaced: set[str], operations: list[tuple[str, str, str]]) -> None:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except PermissionError:
        return  # not readable for this user: the rebuilt one holds the mount points only
    for entry in entries:
        if entry.path in replaced:
            continue
        if entry.path in _KERNEL_DIRECTORIES:
            operations.append(("directory", entry.path, ""))
        elif entry.is_symlink():
            operations.append(("link", entry.path, os.readlink(entry.path)))
        elif entry.is_dir() and entry.path in rebuilt:
            operations.append(("directory", entry.path, ""))
            _copy_directory(entry.path, rebuilt, replaced, operations)
        else:
            operations.append(("bind-directory" if entry.is_dir() else "bind-file", entry.path, ""))

"""Writes the files of a ConfigMap, Secret, token or downward volume so that readers see either all old or all new ones.

The layout is the kubelet's, which programs that watch such volumes rely on: files are links through `..data`, and one rename of
`..data` swaps all of them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileContent:
    """One file to be; `mode` as in chmod."""

    data: bytes
    mode: int


def write_files(directory: Path, files: Mapping[str, FileContent]) -> bool:
    """Make the directory hold exactly these files.

    Args:
        files: By path relative to the directory; the API server refused `..` and absolute paths already.
    Returns:
        Whether anything changed.
    """
    if _holds(directory, files):
        return False
    directory.mkdir(parents=True, exist_ok=True)
    version = directory / f"..{time.time_ns()}"
    version.mkdir(mode=0o755)
    for path, content in files.items():
        target = version / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.data)
        target.chmod(content.mode)
    previous = directory / "..data"
    old_version = previous.readlink() if previous.is_symlink() else None
    fresh = directory / "..data_new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(version.name)
    fresh.rename(previous)
    _link_first_parts(directory, files)
    if old_version is not None:
        shutil.rmtree(directory / old_version, ignore_errors=True)
    return True


def _holds(directory: Path, files: Mapping[str, FileContent]) -> bool:
    data = (directory / "..data").resolve()
    if not data.is_dir():
        return False
    present = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}
    return present == set(files) and all((data / name).read_bytes() == content.data for name, content in files.items())


def _link_first_parts(directory: Path, files: Mapping[str, FileContent]) -> None:
    wanted = {path.split("/", 1)[0] for path in files}
    for name in wanted:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    for entry in directory.iterdir():
        if entry.is_symlink() and entry.name not in wanted and not entry.name.startswith(".."):
            entry.unlink()

"""Where repositories lie below the data folder, and under which path they are served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gastown_git.ref_names import is_label


def repository_path(data: Path, namespace: str, rig: str) -> Path:
    """Folder of a rig's bare repository.

    Raises:
        ValueError: A name could lead out of the data folder.
    """
    for name in (namespace, rig):
        if not is_label(name):
            raise ValueError(f"{name!r} is not a name of a namespace or a rig: lower-case letters, digits and dashes, at most 63")
    return data / "rigs" / namespace / f"{rig}.git"


def repositories(data: Path) -> Iterator[Path]:
    """All rigs' repositories below the data folder; unfinished ones are left out."""
    yield from sorted(path for path in (data / "rigs").glob("*/*.git") if not path.name.startswith("."))

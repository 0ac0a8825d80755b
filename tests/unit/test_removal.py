"""Deleting what an agent left behind, however it tried to prevent that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gastown.removal import remove_tree


def dig(folder: Path, depth: int, name: str = "d") -> None:
    """Folders in each other, made as an agent can: one step at a time, past what a path can name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for number in range(depth):
            os.mkdir(name, dir_fd=descriptor)
            below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
            if number % 100 == 0:
                os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
            os.close(descriptor)
            descriptor = below
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(("depth", "name"), [(1500, "d"), (60, "n" * 255)], ids=["deeper than recursion", "longer than any path"])
def test_folders_in_each_other_without_end_are_deleted(tmp_path: Path, depth: int, name: str) -> None:
    target = tmp_path / "workspace"
    target.mkdir()
    dig(target, depth, name)
    remove_tree(target)
    assert list(tmp_path.iterdir()) == []


def test_what_is_write_protected_is_deleted_and_what_links_point_at_is_not(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    target = tmp_path / "workspace"
    (target / "cache" / "module").mkdir(parents=True)
    (target / "cache" / "module" / "source").touch()
    (target / "link").symlink_to(tmp_path / "kept")
    (target / "loop").symlink_to(target)
    os.mkfifo(target / "pipe")
    for folder in (target / "cache" / "module", target / "cache"):
        folder.chmod(0o500)
    remove_tree(target)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "file"]


def test_a_folder_that_is_not_there_is_no_matter(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []

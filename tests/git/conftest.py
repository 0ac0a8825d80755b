"""Repositories for the tests with real git."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from gastown_git.repository import Repository
from support import git_builder, git_server


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests end processes, not machines: without a power cut in sight, waiting for the disk only makes them slow."""
    Repository.create(tmp_path_factory.mktemp("first") / "first.git")  # sets what is switched off here
    pygit2.settings.enable_fsync_gitdir(False)  # noqa: FBT003 - its signature


@pytest.fixture
def rig(tmp_path: Path) -> Repository:
    """A rig's bare repository with main adopted at one small commit."""
    return git_builder.repository(tmp_path / "rigs" / "town" / "greeter.git")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[git_server.Server]:
    """A repo-server on loopback with rig `greeter` in town `town`."""
    with git_server.running(tmp_path / "data") as running:
        yield running


@pytest.fixture
def client(server: git_server.Server, tmp_path: Path) -> git_server.Client:
    """Furiosa's clone."""
    return git_server.Client(tmp_path / "furiosa", server.url())

"""Repositories for the tests with real git."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gastown_git.repository import Repository
from support import git_builder, git_server


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

"""Repositories for the tests with real git."""

from __future__ import annotations

from pathlib import Path

import pytest

from gastown_git.repository import Repository
from support import git_builder


@pytest.fixture
def rig(tmp_path: Path) -> Repository:
    """A rig's bare repository with main adopted at one small commit."""
    return git_builder.repository(tmp_path / "rigs" / "town" / "greeter.git")

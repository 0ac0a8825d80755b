"""Init step of a gate Job: the tree to test, from a signed link, checked against its id. Holds no credential."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gastown.polecat.errors import Refused
from gastown.removal import remove_tree

SOURCE_URL = "GASTOWN_SOURCE_URL"
TREE = "GASTOWN_TREE"
FETCH_SECONDS = 300.0


def fetch_gate_source(environment: Mapping[str, str]) -> Path:
    """Unpack the tree into <workspace>/source.

    Raises:
        Refused: The environment lacks a variable.
    """
    # Imported here: the session's subcommands have no use for tar and HTTP.
    from gastown.polecat.tree_source import fetch_tree

    for name in (SOURCE_URL, TREE):
        if not environment.get(name):
            raise Refused(
                f"environment variable {name}", "is not set", remedy="the operator sets it on every gate Job", reason="BadEnvironment"
            )
    workspace = Path(environment.get("GASTOWN_WORKSPACE") or "/workspace")
    for folder in (workspace / "home", workspace / "tmp"):
        folder.mkdir(parents=True, exist_ok=True)
    target = workspace / "source"
    remove_tree(target)  # of a first try that was killed
    fetch_tree(environment[SOURCE_URL], environment[TREE], target, FETCH_SECONDS)
    return target

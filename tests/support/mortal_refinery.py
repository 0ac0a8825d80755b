"""The real refinery as a mortal process: its steps are its writes to the API server, and all it writes in git.

The child replaces what it imports by the same with a step around it, so the product needs no seam for this.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gastown.kube.configuration import Configuration
from gastown.processes.refinery import main as refinery
from gastown_git import maintenance, merge, upstream
from gastown_git.refs import RefStore
from gastown_git.repository import Repository
from support.mortal import Doom, Fate, Life, MortalClient, replace


def refinery_life(folder: Path, doom: Doom, where: Configuration, namespace: str, data: Path, upstreams: Path) -> Life:
    """A refinery that is not started yet.

    Args:
        data: Folder of its repositories.
        upstreams: Folder of those it may fetch from.
    """
    return Life(folder, doom, live, where, namespace, data, upstreams)


def live(fate: Fate, where: Configuration, namespace: str, data: Path, upstreams: Path) -> None:
    """What the child does."""
    os.environ |= {
        "GASTOWN_DATA": str(data),
        "GASTOWN_REPO_URL": "http://repo.invalid:8080",
        "GASTOWN_TREE_KEY_FILE": str(data / "tree-key"),
        "GASTOWN_LOCAL_UPSTREAMS": str(upstreams),
        "GASTOWN_TOWN_NAMESPACES": namespace,
        "GASTOWN_LISTEN_HOST": "127.0.0.1",
        "GASTOWN_HEALTH_PORT": "0",
    }
    MortalClient.fate = fate
    tell_git(fate)
    replace(refinery, "Client", MortalClient)
    replace(refinery, "in_cluster", lambda: where)
    refinery.main()


def tell_git(fate: Fate) -> None:
    """Make a step of everything this process writes in git from now on."""
    for name in ("create", "update", "delete", "move_protected_branch"):
        _add_steps(fate, RefStore, name, lambda _, ref, *__, name=name, **___: f"{name} {ref}")
    _add_steps(fate, Repository, "write_blob", lambda _, content: f"blob of {len(content)} bytes")
    _add_steps(fate, Repository, "write_commit", lambda _, **said: "commit " + said["message"].partition("\n")[0])
    for module in (merge, upstream, maintenance):
        _add_steps(fate, module, "run_git", lambda arguments, **_: f"git {arguments[0]} {arguments[-1][:60]}")


def _add_steps(fate: Fate, owner: Any, name: str, words: Callable[..., str]) -> None:
    """Replace a function by itself with a step around it."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def stepping(*arguments: Any, **named: Any) -> Any:
        with fate.step(words(*arguments, **named)):
            return function(*arguments, **named)

    replace(owner, name, stepping)

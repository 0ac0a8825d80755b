"""Runs the rig's gates before a submission, so that a red one costs minutes in the session and not a place in the merge queue.

They run on a clean checkout of the very commit, beside the agent's worktree: what is ignored or left over there can neither turn a red
commit green nor be turned into dirt by a gate that writes files. It is a courtesy to the agent; the gate that counts is the refinery's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gastown.api.rig import GATE_COMMAND, Gate
from gastown.polecat import child
from gastown.polecat.errors import Refused
from gastown.polecat.git import Git
from gastown.removal import remove_tree

_TAIL_BYTES = 8192


class GateRed(Refused):
    """A gate did not pass on the commit.

    Attributes:
        log_tail: The end of what it wrote.
    """

    def __init__(self, gate: Gate, happened: str, log_tail: str, *, reason: str) -> None:
        super().__init__(f"gate {gate.name}", happened, remedy="fix it, commit, and run gt done again", reason=reason)
        self.log_tail = log_tail


def run_gates(
    git: Git, commit: str, gates: Sequence[Gate], report: Callable[[str], None], is_interrupted: Callable[[], bool] | None = None
) -> list[str]:
    """Run each gate of type Command on a commit.

    Args:
        git: Of the agent's worktree.
        report: Takes a line per gate.

    Returns:
        One claim per gate, for the MergeRequest.

    Raises:
        GateRed: The first one that did not pass.
        Interrupted: The session stops.
    """
    commands = [gate for gate in gates if gate.type == GATE_COMMAND and gate.command]
    if not commands:
        return []
    scratch = Path(tempfile.mkdtemp(prefix="gates-"))
    try:
        tree = scratch / "tree"
        git.run("worktree", "add", "--quiet", "--detach", str(tree), commit)
        return [_run_gate(tree, scratch / "log", gate, commit, report, is_interrupted) for gate in commands]
    finally:
        remove_tree(scratch)
        Git(git.folder).run("worktree", "prune")


def _run_gate(
    tree: Path, log: Path, gate: Gate, commit: str, report: Callable[[str], None], is_interrupted: Callable[[], bool] | None
) -> str:
    report(f"gate {gate.name}: running on {commit[:12]}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        exit_code, timed_out = child.run_logged(
            gate.command,
            log,
            deadline_seconds=gate.timeoutSeconds,
            folder=tree,
            environment={**environment, "CI": "true"},
            is_interrupted=is_interrupted,
        )
    except OSError as error:
        # The gate may have an image of its own, with programs that a session has not: the refinery's run decides.
        report(f"gate {gate.name}: not run here: {error.strerror}: {gate.command[0]}")
        return f"gate {gate.name} not run"
    if timed_out:
        raise GateRed(
            gate, f"no end within {gate.timeoutSeconds} s on commit {commit[:12]}", child.tail(log, _TAIL_BYTES), reason="GateTimeout"
        )
    if exit_code != 0:
        raise GateRed(gate, f"exit code {exit_code} on commit {commit[:12]}", child.tail(log, _TAIL_BYTES), reason="GateFailed")
    report(f"gate {gate.name}: passed")
    return f"gate {gate.name} passed"

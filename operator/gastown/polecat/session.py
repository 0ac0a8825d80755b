"""What a session is told by its pod's environment, and the paths that follow from it; the same for checkout, run and `gt done`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gastown.api.codec import from_dict
from gastown.api.names import checkpoint_ref, display_actor, session_branch
from gastown.api.rig import Gate
from gastown.polecat.errors import Refused

NAMESPACE = "GASTOWN_NAMESPACE"
RIG = "GASTOWN_RIG"
AGENT = "GASTOWN_AGENT"
BEAD = "GASTOWN_BEAD"
SESSION = "GASTOWN_SESSION"
POD_UID = "GASTOWN_POD_UID"
REPOSITORY_URL = "GASTOWN_REPOSITORY_URL"
TOKEN_FILE = "GASTOWN_REPO_TOKEN_FILE"  # noqa: S105 - the name of a variable
WORKSPACE = "GASTOWN_WORKSPACE"
TARGET_BRANCH = "GASTOWN_TARGET_BRANCH"
START_COMMIT = "GASTOWN_START_COMMIT"
ADAPTER = "GASTOWN_ADAPTER"
AGENT_COMMAND = "GASTOWN_AGENT_COMMAND"
MODEL = "GASTOWN_MODEL"
GATES = "GASTOWN_GATES"
TIMEOUT_SECONDS = "GASTOWN_TIMEOUT_SECONDS"
HEARTBEAT_SECONDS = "GASTOWN_HEARTBEAT_SECONDS"
CHECKPOINT_SECONDS = "GASTOWN_CHECKPOINT_SECONDS"
CHECKOUT_SECONDS = "GASTOWN_CHECKOUT_SECONDS"
RESULT_FILE = "GASTOWN_RESULT_FILE"
NUDGE_FILE = "GASTOWN_NUDGE_FILE"
TERMINATION_LOG = "GASTOWN_TERMINATION_LOG"

DEFAULT_TERMINATION_LOG = "/dev/termination-log"
DEFAULT_WORKSPACE = "/workspace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of an agent on a bead.

    Attributes:
        number: Counts up over the agent's life.
        start_commit: Where the work goes on, 40 hex digits, or "" for the target branch; may be another agent's or a checkpoint.
        gates: The rig's gates of type Command.
        timeout_seconds, checkpoint_seconds: 0 means never.
        heartbeat_seconds: How often the Lease is renewed.
    """

    namespace: str
    rig: str
    agent: str
    bead: str
    repository_url: str
    workspace: Path
    number: int = 0
    pod_uid: str = ""
    token_file: str = ""
    target_branch: str = "main"
    start_commit: str = ""
    adapter: str = "shell"
    agent_command: list[str] = field(default_factory=list)
    model: str = ""
    gates: list[Gate] = field(default_factory=list)
    timeout_seconds: int = 0
    checkpoint_seconds: int = 0
    heartbeat_seconds: float = 30.0
    checkout_seconds: int = 300

    @property
    def actor(self) -> str:
        """How people read this agent: <rig>/polecats/<name>."""
        return display_actor("polecat", self.rig, self.agent)

    @property
    def email(self) -> str:
        """The e-mail of this agent's commits; .invalid so that it can never be somebody's."""
        return f"{self.agent}@{self.namespace}.gastown.invalid"

    @property
    def branch(self) -> str:
        """The branch this session pushes, without refs/heads/."""
        return session_branch(self.agent, self.bead)

    @property
    def checkpoint_ref(self) -> str:
        """Where uncommitted work is kept."""
        return checkpoint_ref(self.agent, self.bead)

    @property
    def repository(self) -> Path:
        """The bare repository all worktrees of the pod share."""
        return self.workspace / "repository.git"

    @property
    def worktree(self) -> Path:
        """Where the agent works."""
        return self.workspace / self.bead

    @property
    def home(self) -> Path:
        """HOME of the agent: its CLI keeps its own sessions there."""
        return self.workspace / "home"

    @property
    def temporary(self) -> Path:
        """TMPDIR."""
        return self.workspace / "tmp"

    @property
    def result_file(self) -> Path:
        """Written by `gt done`: the session is over."""
        return self.workspace / "result.json"

    @property
    def nudge_file(self) -> Path:
        """The words of the last nudge, for an agent that cares to look."""
        return self.workspace / "nudge.txt"

    @property
    def context_file(self) -> Path:
        """The rendered `gt prime`."""
        return self.workspace / "context.md"

    @property
    def bead_file(self) -> Path:
        """The whole bead as JSON, since an environment variable holds at most 128 KiB."""
        return self.workspace / "bead.json"


def from_environment(environment: Mapping[str, str]) -> Session:
    """Read a session from its pod's environment.

    Raises:
        Refused: A variable is missing or not of its form; the message names it.
    """
    return Session(
        namespace=_required(environment, NAMESPACE),
        rig=_required(environment, RIG),
        agent=_required(environment, AGENT),
        bead=_required(environment, BEAD),
        number=_number(environment, SESSION, 0),
        pod_uid=environment.get(POD_UID, ""),
        repository_url=_required(environment, REPOSITORY_URL),
        token_file=environment.get(TOKEN_FILE, ""),
        workspace=Path(environment.get(WORKSPACE) or DEFAULT_WORKSPACE),
        target_branch=environment.get(TARGET_BRANCH) or "main",
        start_commit=environment.get(START_COMMIT, ""),
        adapter=environment.get(ADAPTER) or "shell",
        agent_command=_command(environment),
        model=environment.get(MODEL, ""),
        gates=_gates(environment),
        timeout_seconds=_number(environment, TIMEOUT_SECONDS, 0),
        checkpoint_seconds=_number(environment, CHECKPOINT_SECONDS, 0),
        heartbeat_seconds=_seconds(environment, HEARTBEAT_SECONDS, 30.0),
        checkout_seconds=_number(environment, CHECKOUT_SECONDS, 300),
    )


def termination_log(environment: Mapping[str, str]) -> Path:
    """The file whose content becomes the container's termination message."""
    return Path(environment.get(TERMINATION_LOG) or DEFAULT_TERMINATION_LOG)


def _required(environment: Mapping[str, str], name: str) -> str:
    if value := environment.get(name, ""):
        return value
    raise Refused(f"environment variable {name}", "is not set", remedy="the operator sets it on every session pod", reason="BadEnvironment")


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if text and not text.isdecimal():
        raise Refused(f"environment variable {name}", f"is {text!r}, not a number", remedy="use a whole number", reason="BadEnvironment")
    return int(text) if text else default


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise Refused(f"environment variable {name}", f"is {text!r}, not a number of seconds", remedy="use 30", reason="BadEnvironment")
    return value


def _command(environment: Mapping[str, str]) -> list[str]:
    command = _json_list(environment, AGENT_COMMAND)
    if not all(isinstance(word, str) for word in command):
        raise Refused(
            f"environment variable {AGENT_COMMAND}",
            "is not a list of strings",
            remedy='use ["program", "argument"]',
            reason="BadEnvironment",
        )
    return [str(word) for word in command]


def _gates(environment: Mapping[str, str]) -> list[Gate]:
    try:
        return [from_dict(Gate, gate) for gate in _json_list(environment, GATES)]
    except (TypeError, AttributeError) as error:
        raise Refused(
            f"environment variable {GATES}", f"is not a list of gates: {error}", remedy="see Rig.spec.gates", reason="BadEnvironment"
        ) from error


def _json_list(environment: Mapping[str, str], name: str) -> list[Any]:
    text = environment.get(name, "")
    try:
        value = json.loads(text) if text else []
    except ValueError as error:
        raise Refused(f"environment variable {name}", f"is not JSON: {error}", remedy="use a JSON list", reason="BadEnvironment") from error
    if not isinstance(value, list):
        raise Refused(f"environment variable {name}", "is not a JSON list", remedy="use a JSON list", reason="BadEnvironment")
    return value

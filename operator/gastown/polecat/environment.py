"""The environment and files an agent's command finds: its bead as variables, its identity for commits, its tools on PATH."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from gastown.api.bead import Bead
from gastown.api.codec import to_dict
from gastown.polecat import session as names
from gastown.polecat.session import Session

# The kernel refuses to start a program with one variable over 128 KiB; all of them together must fit beside the arguments.
VALUE_LIMIT_BYTES = 64 * 1024
_CUT = "\n[cut here; all of it is in the file $GASTOWN_BEAD_FILE]"


def agent_environment(session: Session, bead: Bead, base: Mapping[str, str]) -> dict[str, str]:
    """All variables of the agent's command.

    Args:
        base: The container's own environment, which the profile's variables are part of.
    """
    spec = bead.spec
    own = {
        "HOME": str(session.home),
        "TMPDIR": str(session.temporary),
        "PATH": _path_with_our_tools(base.get("PATH", os.defpath)),
        "BD_ACTOR": session.actor,
        "GASTOWN_BEAD_TITLE": spec.title,
        "GASTOWN_BEAD_DESCRIPTION": spec.description,
        "GASTOWN_BEAD_TYPE": spec.type,
        "GASTOWN_BEAD_LABELS": json.dumps(spec.labels),
        "GASTOWN_BEAD_FILE": str(session.bead_file),
        "GASTOWN_CONTEXT_FILE": str(session.context_file),
        names.RESULT_FILE: str(session.result_file),
        names.NUDGE_FILE: str(session.nudge_file),
        "GIT_AUTHOR_NAME": session.actor,
        "GIT_AUTHOR_EMAIL": session.email,
        "GIT_COMMITTER_NAME": session.actor,
        "GIT_COMMITTER_EMAIL": session.email,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": ":",
    }
    return {**base, **{name: _value(text) for name, text in own.items()}}


def write_files(session: Session, bead: Bead, context: str) -> None:
    """Write the context and the whole bead where the variables say."""
    for folder in (session.home, session.temporary):
        folder.mkdir(parents=True, exist_ok=True)
    session.context_file.write_text(context, encoding="utf-8", errors="replace")
    session.bead_file.write_text(json.dumps(to_dict(bead), indent=1), encoding="utf-8")


def _value(text: str) -> str:
    """Text as a variable can hold it: no NUL, no lone surrogates, not too long."""
    data = text.replace("\0", "").encode("utf-8", "replace")
    if len(data) <= VALUE_LIMIT_BYTES:
        return data.decode()
    return data[: VALUE_LIMIT_BYTES - len(_CUT)].decode("utf-8", "ignore") + _CUT


def _path_with_our_tools(path: str) -> str:
    tools = str(Path(sys.executable).parent)
    return path if tools in path.split(os.pathsep) else f"{path}{os.pathsep}{tools}"

"""How a session ended: what `gt done` tells the harness by a file, and the harness the operator by its termination message."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gastown.api import agent as agents

SUBMITTED, HANDOFF, FAILED = agents.OUTCOME_SUBMITTED, agents.OUTCOME_HANDOFF, agents.OUTCOME_FAILED
NO_CHANGE, CLOSED = agents.OUTCOME_NO_CHANGE, agents.OUTCOME_CLOSED
OUTCOMES = (SUBMITTED, HANDOFF, FAILED, NO_CHANGE, CLOSED)

# The kubelet cuts what is longer, which would leave half a JSON document.
MESSAGE_LIMIT_BYTES = 4096
_CUT = "\n[...]\n"
_HEAD_CHARACTERS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The end of a session, as the session itself sees it: the operator checks what matters.

    Attributes:
        outcome: One of OUTCOMES.
        reason: CamelCase.
        merge_request: Name, or "".
        head: What was submitted, 40 hex digits, or "".
        checkpoint: Where uncommitted or unsubmitted work is kept, 40 hex digits, or "".
        usage: Counters by their name in `api/usage.py`.
    """

    outcome: str
    reason: str
    message: str = ""
    merge_request: str = ""
    head: str = ""
    checkpoint: str = ""
    exit_code: int = 0
    usage: dict[str, int] = field(default_factory=dict)


def to_json(result: Result) -> bytes:
    """The termination message: JSON of at most MESSAGE_LIMIT_BYTES; of a message that is too long the middle goes."""
    plain = to_plain(result)
    message = result.message
    keep = len(message)
    while True:
        data = json.dumps({**plain, "message": shortened(message, keep)}, separators=(",", ":")).encode()
        if len(data) <= MESSAGE_LIMIT_BYTES or keep == 0:
            return data
        keep = keep * 3 // 4 if keep > 16 else 0


def to_plain(result: Result) -> dict[str, Any]:
    """The result under the names of the API."""
    plain = asdict(result)
    plain["mergeRequest"] = plain.pop("merge_request")
    plain["exitCode"] = plain.pop("exit_code")
    return plain


def from_json(data: bytes) -> Result | None:
    """What `to_json` made; None if it is anything else (an agent can write the file, so nothing is taken for granted)."""
    try:
        plain = json.loads(data)
    except ValueError:
        return None
    if not isinstance(plain, dict) or plain.get("outcome") not in OUTCOMES:
        return None
    usage = plain.get("usage")
    return Result(
        outcome=plain["outcome"],
        reason=_text(plain, "reason"),
        message=_text(plain, "message"),
        merge_request=_text(plain, "mergeRequest"),
        head=_text(plain, "head"),
        checkpoint=_text(plain, "checkpoint"),
        exit_code=_count(plain.get("exitCode")),
        usage={str(name): _count(value) for name, value in usage.items()} if isinstance(usage, dict) else {},
    )


def write_result(path: Path, result: Result) -> None:
    """Write a result so that a reader sees all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(to_json(result))
    temporary.replace(path)


def find_result(path: Path) -> Result | None:
    """Read a result file, if there is a sound one."""
    try:
        with path.open("rb") as file:
            return from_json(file.read(4 * MESSAGE_LIMIT_BYTES))
    except OSError:
        return None


def write_termination_message(path: Path, data: bytes) -> None:
    """Write the container's termination message in place: the file is a mount of its own and can not be replaced."""
    try:
        path.write_bytes(data[:MESSAGE_LIMIT_BYTES])
    except OSError as error:
        # Outside a container there is no such file; the log has the same words.
        print(f"termination message {path}: {error.strerror}", flush=True)


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and its end: the cause stands first, the last words of a program last."""
    if len(text) <= limit:
        return text
    if limit <= len(_CUT) + 2:
        return text[:limit]
    head = min(_HEAD_CHARACTERS, limit // 3)
    return text[:head] + _CUT + text[len(text) - (limit - head - len(_CUT)) :]


def _text(plain: dict[str, Any], name: str) -> str:
    value = plain.get(name, "")
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0

"""A container's last words: its termination message file, or the end of its log if it failed without any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gastown.local.node.log_reader import tail_text
from gastown.local.node.run_files import RunExit

MAXIMUM_MESSAGE_BYTES = 4096
_LOG_BYTES = 2048
_LOG_LINES = 80


def termination_message(container: Mapping[str, Any], directory: Path, ended: RunExit) -> str:
    """The message for the container's status, at most 4096 bytes of UTF-8."""
    try:
        with (directory / "termination-log").open("rb") as file:
            data = file.read(MAXIMUM_MESSAGE_BYTES)
    except OSError:
        data = b""
    if not data and ended.code != 0 and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        data = tail_text(directory, _LOG_LINES)[-_LOG_BYTES:]
    # A character may have been cut at either end, and a message that is no UTF-8 would make the whole status unacceptable.
    return data.decode(errors="ignore").replace("\0", "")

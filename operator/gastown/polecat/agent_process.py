"""The agent's command as a running process: its output goes to the container's log and through the adapter's parser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from gastown.api.text import plain
from gastown.polecat import child
from gastown.polecat.adapters.base import Event, EventParser, Invocation, SessionStarted, Terminal, UsageDelta
from gastown.polecat.descendants import end_all

_LINE_LIMIT_BYTES = 1024 * 1024
_TAIL_LINES = 30
_TAIL_COLUMNS = 300


class AgentProcess:
    """One run of an agent's command, leader of a session and process group of its own.

    Args:
        on_output: Called from threads with the number of bytes of each piece of output.
        on_exit: Called once, from a thread, when the command has ended.

    Raises:
        OSError: The program can not be started.
    """

    def __init__(
        self,
        invocation: Invocation,
        parser: EventParser,
        folder: Path,
        environment: Mapping[str, str],
        on_output: Callable[[int], None],
        on_exit: Callable[[], None],
    ) -> None:
        for path, content in invocation.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        self.session_id = ""
        self.usage: dict[str, int] = {}
        self._parser = parser
        self._on_output = on_output
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            list(invocation.arguments),
            cwd=folder,
            env={**environment, **invocation.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pumps = [
            threading.Thread(target=self._pump, args=(self._process.stdout, sys.stdout, self._read_line), daemon=True),
            threading.Thread(target=self._pump, args=(self._process.stderr, sys.stderr, self._remember), daemon=True),
        ]
        for pump in self._pumps:
            pump.start()
        threading.Thread(target=self._wait, args=(on_exit,), daemon=True).start()

    def has_ended(self) -> bool:
        """Whether the command has ended; what it left behind may still run."""
        return self._process.poll() is not None

    def end(self, grace_seconds: float) -> None:
        """Ask the process group to end, and after the grace make it."""
        child.kill_group(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            child.kill_group(self._process.pid)
            self._process.wait()

    def verdict(self, root: int) -> tuple[Terminal, int]:
        """After the end: kill what is left, read what is left, and let the adapter judge.

        Args:
            root: Ancestor of ours; everything else under it was left behind by the agent.

        Returns:
            The verdict and the exit code, negative for a signal.
        """
        exit_code = self._process.wait()
        child.kill_group(self._process.pid)
        end_all(root)
        for pump in self._pumps:
            pump.join(5.0)
        return self._parser.finish(exit_code), exit_code

    def last_lines(self) -> str:
        """The end of the output, both streams, for people."""
        with self._lock:
            return "\n".join(self._tail)

    def _wait(self, on_exit: Callable[[], None]) -> None:
        self._process.wait()
        on_exit()

    def _pump(self, source: IO[bytes], log: IO[str], take: Callable[[str], None]) -> None:
        pending = b""
        while data := os.read(source.fileno(), 65536):
            log.buffer.write(data)  # type: ignore[attr-defined] # text streams of a process have one
            log.flush()
            self._on_output(len(data))
            *lines, pending = (pending + data).split(b"\n")
            if len(pending) > _LINE_LIMIT_BYTES:
                lines, pending = [*lines, pending], b""
            for line in lines:
                take(line.decode("utf-8", "replace"))
        if pending:
            take(pending.decode("utf-8", "replace"))
        source.close()

    def _read_line(self, line: str) -> None:
        self._remember(line)
        for event in self._parser.read_line(line):
            self._note(event)

    def _note(self, event: Event) -> None:
        if isinstance(event, SessionStarted):
            self.session_id = event.session_id
        elif isinstance(event, UsageDelta):
            for name in ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens"):
                self.usage[name] = self.usage.get(name, 0) + getattr(event, name)

    def _remember(self, line: str) -> None:
        with self._lock:
            self._tail.append(plain(line[:_TAIL_COLUMNS]))

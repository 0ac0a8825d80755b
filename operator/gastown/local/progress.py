"""A line that lives: what is being done and for how many seconds, for work that takes minutes."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TextIO

_TERMINAL_SECONDS = 1.0
_PLAIN_SECONDS = 15.0


class LiveLine:
    """Within a `with` block, tells the elapsed time on stderr: rewritten in place on a terminal, else a new line now and then.

    Args:
        text: What is being done.
        stream: stderr by default.
    """

    def __init__(self, text: str, stream: TextIO | None = None) -> None:
        self._text = text
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._started = 0.0

    def __enter__(self) -> LiveLine:
        self._started = time.monotonic()
        self._write()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._write("failed" if kind else "done")
        if self._is_terminal:
            print(file=self._stream, flush=True)

    def _tell(self) -> None:
        while not self._over.wait(_TERMINAL_SECONDS if self._is_terminal else _PLAIN_SECONDS):
            self._write()

    def _write(self, ending: str = "") -> None:
        seconds = time.monotonic() - self._started
        line = f"{self._text}: {ending or '...'} {seconds:.0f} s" if ending or seconds >= 1 else f"{self._text}: ..."
        print(f"\r\x1b[K{line}" if self._is_terminal else line, end="" if self._is_terminal else "\n", file=self._stream, flush=True)

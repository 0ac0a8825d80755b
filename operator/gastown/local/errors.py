"""The one exception of the local town that users see: what happened, to what, and what to do next."""

from __future__ import annotations

from pathlib import Path

TAIL_LINES = 12


class LocalTownError(Exception):
    """The local town can not be started, stopped or read; the message is written for the person at the terminal."""


class ProcessEnded(LocalTownError):
    """A process of the town ended while somebody waited for it.

    Attributes:
        name: Of the process.
        log: Its whole output.
    """

    def __init__(self, name: str, log: Path, since: int) -> None:
        self.name = name
        self.log = log
        super().__init__(f"{name} ended before it was ready.{quote_log(log, since)}")


def quote_log(log: Path, since: int = 0) -> str:
    """Where a log is and how it ends, to be put behind an error.

    Args:
        log: The file; it may be missing.
        since: Byte offset at which the present run began, so that an older run's trouble is not shown as this one's.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(since, size - 16_384))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return f"\nIts log {log} does not exist."
    # A Go program that gives up says why, and then prints its stack: the reason is what counts.
    panics = [number for number, line in enumerate(lines) if '"level":"panic"' in line or line.startswith("panic:")]
    begin = panics[0] if panics else max(0, len(lines) - TAIL_LINES)
    shown = "\n".join(f"  | {line[:400]}" for line in lines[begin : begin + TAIL_LINES])
    return f"\nIts log is {log}" + (f" and ends:\n{shown}" if shown else " and is empty.")

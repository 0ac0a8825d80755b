"""Reads what `log_writer.py` wrote: for `kubectl logs`, and for termination messages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a log file: `stamp` as text, `is_full` unless its end follows in the next entry."""

    stamp: str
    stream: str
    is_full: bool
    text: bytes


def parse_entry(line: bytes) -> LogEntry | None:
    """One line of the file without its newline, None if it is damaged (a crash may have cut it)."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[2] not in (b"F", b"P"):
        return None
    return LogEntry(parts[0].decode("ascii", "replace"), parts[1].decode("ascii", "replace"), parts[2] == b"F", parts[3])


def render(entry: LogEntry, *, timestamps: bool) -> bytes:
    """As `kubectl logs` shows it."""
    prefix = entry.stamp.encode() + b" " if timestamps else b""
    return prefix + entry.text + (b"\n" if entry.is_full else b"")


def log_files(directory: Path) -> list[Path]:
    """Log files of a run, oldest first."""
    return [path for path in (directory / "log.1", directory / "log") if path.exists()]


def read_entries(path: Path) -> Iterator[LogEntry]:
    """All whole entries of a file."""
    with path.open("rb") as file:
        for line in file:
            entry = parse_entry(line.rstrip(b"\n")) if line.endswith(b"\n") else None
            if entry is not None:
                yield entry


def tail_offset(path: Path, lines: int) -> tuple[int, int]:
    """Where the last lines of a file begin.

    Returns:
        Offset in bytes, and how many lines follow it (fewer than asked for if the file has no more).
    """
    if lines <= 0:
        return path.stat().st_size, 0
    found = 0
    with path.open("rb") as file:
        end = first = position = file.seek(0, os.SEEK_END)
        rest = b""
        while position > 0:
            size = min(_BLOCK, position)
            position -= size
            file.seek(position)
            pieces = (file.read(size) + rest).split(b"\n")
            # What stands before the first newline belongs to the block before, except at the beginning of the file.
            rest = pieces[0] if position > 0 else b""
            start = position + sum(len(piece) + 1 for piece in pieces) - 1
            for piece in reversed(pieces if position == 0 else pieces[1:]):
                start -= len(piece)
                entry = parse_entry(piece)
                # A last line without its newline counts as one, too.
                if entry is not None and (entry.is_full or first == end):
                    if found == lines:
                        return first, found
                    found += 1
                if entry is not None:
                    first = start
                start -= 1
    return first, found


def tail_text(directory: Path, lines: int) -> bytes:
    """The last lines of a run's output, without times."""
    files = log_files(directory)
    if not files:
        return b""
    path = files[-1]
    offset, _ = tail_offset(path, lines)
    with path.open("rb") as file:
        file.seek(offset)
        entries = (parse_entry(line.rstrip(b"\n")) for line in file)
        return b"".join(render(entry, timestamps=False) for entry in entries if entry is not None)

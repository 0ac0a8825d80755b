"""`kubectl logs`: what was written, and with follow what will be, cut to what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gastown.local.node.log_reader import log_files, parse_entry, render, tail_offset

_FOLLOW_SECONDS = 0.1
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Query of a log request.

    Attributes:
        since: RFC 3339 text; entries before it are left out. Stamps are compared as text, they all have one form.
        tail_lines, limit_bytes: None for all.
    """

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: str = ""
    tail_lines: int | None = None
    limit_bytes: int | None = None


def parse_options(query: Mapping[str, str], now: datetime) -> LogOptions:
    """From the query of a `/containerLogs` request.

    Raises:
        ValueError: A number or time that is none.
    """
    since = ""
    if "sinceSeconds" in query:
        since = _stamp(now - timedelta(seconds=int(query["sinceSeconds"])))
    elif "sinceTime" in query:
        since = _stamp(datetime.fromisoformat(query["sinceTime"]))
    return LogOptions(
        follow=query.get("follow") == "true",
        previous=query.get("previous") == "true",
        timestamps=query.get("timestamps") == "true",
        since=since,
        tail_lines=int(query["tailLines"]) if "tailLines" in query else None,
        limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
    )


async def stream_log(directory: Path, options: LogOptions, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Chunks for the client.

    Args:
        directory: Of the run.
        is_running: Whether more may still be written; asked before each look at the end of the file.
    """
    left = options.limit_bytes
    async for data in _unlimited(directory, options, is_running):
        if left is not None:
            data = data[:left]
            left -= len(data)
        if data:
            yield data
        if left == 0:
            return


async def _unlimited(directory: Path, options: LogOptions, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    files = log_files(directory)
    current = directory / "log"
    offset = 0
    if options.tail_lines is not None and files:
        offset, found = tail_offset(files[-1], options.tail_lines)
        if len(files) > 1 and found < options.tail_lines:
            older, _ = tail_offset(files[0], options.tail_lines - found)
            async for data in _read_from(files[0], older, options):
                yield data
    elif len(files) > 1:
        async for data in _read_from(files[0], 0, options):
            yield data
    while True:
        was_running = is_running()  # before the reading: what the container wrote last must not be missed
        if current.exists():
            with current.open("rb") as file:
                while True:
                    file.seek(offset)
                    data = _render_whole_lines(chunk := file.read(_CHUNK), options)
                    whole = chunk.rfind(b"\n") + 1
                    offset += whole
                    if data:
                        yield data
                    if whole == 0 and was_running and options.follow and _is_same(file.fileno(), current):
                        was_running = is_running()
                        await asyncio.sleep(_FOLLOW_SECONDS)
                    elif whole == 0:
                        break
            if not _was_rotated(current, offset):
                return
            offset = 0
        elif not options.follow or not was_running:
            return
        else:
            await asyncio.sleep(_FOLLOW_SECONDS)


async def _read_from(path: Path, offset: int, options: LogOptions) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while lines := file.readlines(_CHUNK):
            yield _render_whole_lines(b"".join(lines), options)


def _render_whole_lines(chunk: bytes, options: LogOptions) -> bytes:
    entries = (parse_entry(line) for line in chunk[: chunk.rfind(b"\n") + 1].split(b"\n"))
    return b"".join(render(entry, timestamps=options.timestamps) for entry in entries if entry is not None and entry.stamp >= options.since)


def _is_same(descriptor: int, path: Path) -> bool:
    import os

    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _was_rotated(path: Path, offset: int) -> bool:
    try:
        return path.stat().st_size < offset
    except FileNotFoundError:
        return False


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"

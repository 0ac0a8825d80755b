"""Cuts a watch stream into events; apart from the client, so that its faults are tested without a network."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from gastown.api.kinds import Kind
from gastown.kube.decoding import WatchEvent, decode_event, decode_frame
from gastown.kube.errors import Unavailable, error_from_status


async def events_of(kind: Kind, chunks: AsyncIterator[bytes], path: str, *, raw: bool) -> AsyncGenerator[WatchEvent, None]:
    """The events in a stream of bytes.

    Lines are cut here, not by the transport: an object may be a megabyte, more than a transport's longest line.

    Raises:
        Gone: As an ERROR event in the stream: list again.
        Unavailable: A line that is no event, or half of one at the end: nothing of it is used; go on from the last event.
    """
    rest = b""
    async for chunk in chunks:
        lines = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
        rest = lines.pop()
        for line in lines:
            if line:
                yield _event(kind, line, path, raw=raw)
    if rest.strip():
        raise Unavailable(0, "CutOff", "the stream ended in the middle of an event", "watch", path, may_have_happened=True)


def _event(kind: Kind, line: bytes, path: str, *, raw: bool) -> WatchEvent:
    try:
        frame = decode_frame(line)
        if frame.type != "ERROR":
            event = decode_event(kind, frame, raw=raw)
            int(event.resource_version)
            return event
        answer = msgspec.json.decode(frame.object, type=dict)
    except (msgspec.MsgspecError, ValueError) as error:  # ValueError: no version, so nobody could say where to go on
        raise Unavailable(0, "NoEvent", f"a line is no watch event: {error}", "watch", path, may_have_happened=True) from error
    raise error_from_status(answer, "watch", path)

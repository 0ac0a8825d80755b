"""Cutting a stream of bytes into events."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.api.kinds import BEAD
from gastown.kube.decoding import WatchEvent
from gastown.kube.errors import ApiError, Gone, Unavailable
from gastown.kube.watch import events_of


def line(type_: str, value: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": value}).encode() + b"\n"


def bead(name: str, version: int, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "town", "resourceVersion": str(version)}, "spec": spec}


async def _collect(chunks: Sequence[bytes], into: list[WatchEvent]) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async for event in events_of(BEAD, stream(), "/beads", raw=False):
        into.append(event)  # noqa: PERF401 - what came before an error counts


def events(*chunks: bytes) -> list[WatchEvent]:
    found: list[WatchEvent] = []
    asyncio.run(_collect(chunks, found))
    return found


STREAM = line("ADDED", bead("gp-1", 1, title="é\n")) + line("MODIFIED", bead("gp-1", 2)) + line("DELETED", bead("gp-1", 3))


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_where_the_network_cuts_the_stream_does_not_matter(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in itertools.pairwise(places)]
    found = events(*chunks)
    assert [(event.type, event.resource_version) for event in found] == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "3")]
    assert found[0].object.spec.title == "é\n"


def test_half_a_line_at_the_end_is_not_an_event() -> None:
    found: list[WatchEvent] = []
    with pytest.raises(Unavailable, match="in the middle of an event"):
        asyncio.run(_collect([STREAM[:-5]], found))
    assert [event.resource_version for event in found] == ["1", "2"]


def test_a_bookmark_tells_only_how_far_the_stream_has_come() -> None:
    assert events(line("BOOKMARK", {"metadata": {"resourceVersion": "77"}})) == [WatchEvent("BOOKMARK", None, "77")]


def test_a_compacted_version_is_told_inside_the_stream() -> None:
    with pytest.raises(Gone, match="too old"):
        events(line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}))


def test_an_object_that_does_not_fit_is_told_and_the_next_one_comes() -> None:
    odd, good = events(line("ADDED", bead("gp-1", 4, priority="high")), line("ADDED", bead("gp-2", 5)))
    assert odd.object is None
    assert odd.resource_version == "4"
    assert odd.undecodable is not None
    assert (odd.undecodable.namespace, odd.undecodable.name) == ("town", "gp-1")
    assert "$.spec.priority" in odd.undecodable.problem
    assert good.object.metadata.name == "gp-2"


@pytest.mark.parametrize("odd", [b"<html>\n", b"[]\n", b'{"type": "ERROR", "object": 5}\n', b'{"type": "ADDED"}\n'])
def test_a_line_that_is_no_event_ends_the_stream_with_an_error(odd: bytes) -> None:
    with pytest.raises(ApiError):
        events(odd)


def test_a_line_longer_than_any_buffer_is_one_event() -> None:
    text = "x" * 3_000_000
    long = line("ADDED", bead("gp-1", 1, description=text))
    (event,) = events(*(long[start : start + 65536] for start in range(0, len(long), 65536)))
    assert event.object.spec.description == text

"""The head of a push, read before git sees it, and the answer when it is refused.

A push is a list of commands in pkt-lines (`<old> <new> <ref>`, the first with capabilities behind a NUL), a flush, then the pack.
The answer is git's own report (`ng <ref> <why>`), so every client shows the reason behind the ref. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gastown_git.errors import GitopsError
from gastown_git.ref_names import is_object_id
from gastown_git.server.access import RefUpdate

MAX_COMMAND_BYTES = 1 << 20
"""Room for some thousand refs in one push; nobody here has more."""

RESULT_TYPE = "application/x-git-receive-pack-result"

_HEX = re.compile(rb"[0-9a-fA-F]{4}")  # int() would take blanks, signs and underscores, which git reads otherwise
_FLUSH = b"0000"
_BAND_BYTES = 65515  # a side-band packet is at most 65520 bytes: four of length, one of band
_REPORT_BAND, _MESSAGE_BAND = b"\x01", b"\x02"


class MalformedPush(GitopsError):
    """The request does not start as a push does; nothing was done."""


@dataclass(frozen=True)
class PushHead:
    """What a push wants.

    Attributes:
        updates: The commands, in order; empty for the probe that git sends before a large push.
        capabilities: What the client can do, such as `side-band-64k` and `report-status`.
        size: Bytes of the list, its flush included; the pack follows.
    """

    updates: tuple[RefUpdate, ...]
    capabilities: frozenset[str]
    size: int


def parse_push(content: bytes) -> PushHead | None:
    """Read the command list at the start of a push.

    Args:
        content: The request from its start, as far as it has come.

    Returns:
        The list, or None when more bytes are needed.

    Raises:
        MalformedPush: This is no push, too long a list, or a signed one.
    """
    updates: list[RefUpdate] = []
    capabilities: frozenset[str] = frozenset()
    position = 0
    while position + 4 <= len(content):
        length = _length(content[position : position + 4])
        if length == 0:
            return PushHead(tuple(updates), capabilities, position + 4)
        if position + length > MAX_COMMAND_BYTES:
            break
        if position + length > len(content):
            return None
        line, _, tail = content[position + 4 : position + length].rstrip(b"\n").partition(b"\0")
        position += length
        if line.startswith(b"shallow "):
            continue
        if not updates:
            capabilities = frozenset(tail.decode("ascii", "replace").split())
        updates.append(_update(line))
    if position + 4 > MAX_COMMAND_BYTES or len(content) > MAX_COMMAND_BYTES:
        raise MalformedPush("push", f"its list of refs is longer than {MAX_COMMAND_BYTES} bytes", remedy="push fewer refs at once")
    return None


def refuse(refusals: Sequence[tuple[str, str]], capabilities: frozenset[str]) -> bytes:
    """Write the answer to a push of which nothing was done.

    Args:
        refusals: (ref, reason) for every ref of the push.
        capabilities: Of the client.

    Returns:
        Body of the response.
    """
    report = b""
    if capabilities & {"report-status", "report-status-v2"}:
        lines = ["unpack ok", *(f"ng {ref} {_one_line(reason)}" for ref, reason in refusals)]
        report = b"".join(packet(line.encode("utf-8", "surrogateescape") + b"\n") for line in lines) + _FLUSH
    if "side-band-64k" not in capabilities:
        return report
    if not report:
        message = "".join(f"{ref}: {_one_line(reason)}\n" for ref, reason in refusals)
        return b"".join(_on_band(_MESSAGE_BAND, message.encode("utf-8", "surrogateescape"))) + _FLUSH
    return b"".join(_on_band(_REPORT_BAND, report)) + _FLUSH


def packet(content: bytes) -> bytes:
    """Put bytes into one pkt-line: four hex digits of length, then the bytes."""
    return b"%04x" % (len(content) + 4) + content


def _length(digits: bytes) -> int:
    length = int(digits, 16) if _HEX.fullmatch(digits) else -1
    if length in {-1, 1, 2, 3, 4}:
        raise MalformedPush("push", f"starts with {digits!r} where a length belongs", remedy="use a git client")
    return length


def _update(line: bytes) -> RefUpdate:
    old, _, rest = line.partition(b" ")
    new, _, ref = rest.partition(b" ")
    text = [part.decode("utf-8", "surrogateescape") for part in (old, new, ref)]
    if not (is_object_id(text[0]) and is_object_id(text[1]) and text[2].startswith("refs/")):
        what = "is a signed push, which is not supported" if line.startswith(b"push-cert") else f"has the command {line[:200]!r}"
        raise MalformedPush("push", what, remedy="push refs with a git client, without --signed")
    return RefUpdate(*text)


def _on_band(band: bytes, content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), _BAND_BYTES):
        yield packet(band + content[start : start + _BAND_BYTES])


def _one_line(reason: str) -> str:
    return " ".join(reason.split())[:1000]

"""What two sides did to the same lines, cut out of a merge that is not clean: enough to see what has to be reconciled. Pure.

It is evidence for people and for the next session, not a patch: it is bounded, and what can not be shown is shown as an escape. What
lies in the files may itself look like a marker; then a hunk is cut in an odd place, and nothing else happens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_HUNKS = 16
MAX_HUNK_CHARACTERS = 2000
MAX_CHARACTERS = 8000
"""Of all hunks of one conflict: it travels in the status of two objects, and in the next session's context."""

CONTEXT_LINES = 3
_MAX_LINE_CHARACTERS = 160
_MAX_HUNK_LINES = 40
_MARKER = re.compile(rb"(<{7,}|={7,}|>{7,}|\|{7,})(?: (.*))?")
# Control characters but tab, and those that reorder or hide text on a screen.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True)
class Hunk:
    """One place where both sides changed the same lines.

    Attributes:
        file: Path, bytes that are not UTF-8 as surrogate escapes.
        line: First line of it in the file as the side merged into has it, from 1.
        text: The lines with git's markers, both sides and what was there before, and a few lines around; ends in no line end.
    """

    file: str
    line: int
    text: str


def hunks_of(file: str, content: bytes, ours: str, theirs: str) -> Iterator[Hunk]:
    """Cut the conflicts out of a file that a merge left with markers.

    Args:
        file: Its path.
        content: With markers in the style of zdiff3, labelled with the two commits.
        ours: Id of the commit merged into.
        theirs: Id of the commit merged.
    """
    if ours.encode() not in content:
        return  # binary, a link, or deleted on one side: git marks no lines in those
    lines = content.split(b"\n")
    in_ours = 1  # number of the present line on the side merged into
    position = 0
    while position < len(lines):
        if not _is_marker(lines[position], b"<", ours):
            in_ours, position = in_ours + 1, position + 1
            continue
        length = _marker_length(lines[position])
        end = next((at for at in range(position + 1, len(lines)) if _is_marker(lines[at], b">", theirs, length)), len(lines) - 1)
        inside = lines[position : end + 1]
        around = lines[max(0, position - CONTEXT_LINES) : end + 1 + CONTEXT_LINES]
        yield Hunk(file, in_ours, _text(around))
        in_ours += _count_ours(inside, length)
        position = end + 1


def bounded(hunks: Iterable[Hunk]) -> tuple[Hunk, ...]:
    """The first hunks, as many as may travel in a status; asks for no more than that."""
    kept: list[Hunk] = []
    left = MAX_CHARACTERS
    for hunk in hunks:
        left -= len(hunk.text)
        if left < 0 or len(kept) == MAX_HUNKS:
            break
        kept.append(hunk)
    return tuple(kept)


def shown(text: str) -> str:
    """Text from a repository on one printable line: what is not UTF-8, not printable or breaks the line as an escape."""
    known = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), known)


def _text(lines: list[bytes]) -> str:
    left_out = len(lines) - _MAX_HUNK_LINES
    told = [_line(line) for line in lines]
    if left_out > 0:
        # Begin and end of a long one: the markers, and both sides' first or last words.
        half = _MAX_HUNK_LINES // 2
        told = [*told[:half], f"[{left_out} lines left out]", *told[-half:]]
    return "\n".join(told)[:MAX_HUNK_CHARACTERS]


def _line(line: bytes) -> str:
    text = shown(line.removesuffix(b"\r").decode("utf-8", "surrogateescape"))
    return text if len(text) <= _MAX_LINE_CHARACTERS else f"{text[:_MAX_LINE_CHARACTERS]}[cut]"


def _is_marker(line: bytes, sign: bytes, commit: str, length: int = 0) -> bool:
    """Whether the line is a marker labelled with the commit; a rename adds the path to the label, nesting makes it longer."""
    found = _MARKER.match(line) if line.startswith(sign * 7) else None
    if found is None or (length and len(found[1]) != length):
        return False
    return (found[2] or b"").startswith(commit.encode())


def _marker_length(line: bytes) -> int:
    return len(line) - len(line.lstrip(b"<"))


def _count_ours(inside: list[bytes], length: int) -> int:
    """Lines between the first marker and the next one of its length."""
    ends = (b"|" * length, b"=" * length)
    for count, line in enumerate(inside[1:]):
        found = _MARKER.match(line)
        if found is not None and found[1] in ends:
            return count
    return len(inside) - 1

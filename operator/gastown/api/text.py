"""Somebody's text made fit for a line of a terminal, a log or a commit message: what would act there is shown as an escape instead.

Titles, file names, commit messages and logs come from strangers. A terminal obeys control characters, and text that reorders or hides
itself reads differently from what it says; so whatever is shown passes through here. What is stored stays as it was written.
"""

from __future__ import annotations

import re

_BAR = "  |"
# Control characters, formatting that nobody sees or that turns text around, line and paragraph separators, tags and variation
# selectors (whole sentences are hidden in them), half surrogate pairs. Not the Arabic signs of category Cf: those are visible.
_ACTING = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff"
)
_ANY = re.compile(f"[{_ACTING}]")
_BUT_TAB = re.compile(f"(?!\t)[{_ACTING}]")
_IN_LINES = re.compile(f"(?![\t\n])[{_ACTING}]")


def escaped(text: str) -> str:
    """All of it on one line and nothing lost: a line end becomes the two characters backslash and n. For names of files."""
    return _ANY.sub(_escape, text)


def plain(text: str, limit: int = 0) -> str:
    """On one line, lines joined by blanks. For titles and messages.

    Args:
        limit: Most characters; 0 means all. What was cut off is marked by three dots.
    """
    # Cut before the work and after it: an escape is longer than what it stands for.
    line = _BUT_TAB.sub(_escape, " ".join((text[:limit] if limit else text).splitlines()))
    return line if not limit or (len(line) <= limit and len(text) <= limit) else f"{line[: limit - 3]}..."


def plain_lines(text: str) -> str:
    """Line ends and tabs kept, all else as `plain` has it. For logs."""
    return _IN_LINES.sub(_escape, "\n".join(text.splitlines()))


def quoted(text: str) -> str:
    """As lines behind a bar that nothing inside can remove."""
    return "".join(f"{_BAR} {plain(line)}\n" if line else f"{_BAR}\n" for line in text.splitlines()) or f"{_BAR}\n"


def json_text(document: str) -> str:
    """A JSON document in which everything that would act on a terminal is escaped as JSON does it; it means the same."""
    return _IN_LINES.sub(_json_escape, document)


def _escape(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape", "surrogatepass").decode()


def _json_escape(found: re.Match[str]) -> str:
    units = found.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))

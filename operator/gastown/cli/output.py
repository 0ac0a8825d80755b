"""What commands print: tables for people, objects as the API server has them for programs.

With --json a command prints one JSON document on standard output: an object as the API server has it, or, for several,
`{"apiVersion": "v1", "kind": "List", "items": [...]}`, as `kubectl -o json` does; a command that fails prints
`{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": ..., "message": ..., "code": <exit code>}`.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from gastown.api.text import json_text, plain, plain_lines
from gastown.cli.errors import CommandError

JSON_HELP = """\
with --json:
  one document on standard output: an object as the API server has it, or, for several, {"kind": "List", "items": [...]};
  after a failure {"kind": "Status", "status": "Failure", "reason": ..., "message": ..., "code": <exit code>}
"""
Json = Mapping[str, Any]
_GAP = "  "
_LONGEST_ERROR = 4000
_COLORS = {
    "Landed": "32", "Closed": "32", "Passed": "32", "Working": "36", "Submitted": "36", "Gating": "36", "Running": "36",
    "Failed": "31", "Rejected": "31", "Conflicted": "31", "Blocked": "33", "Held": "33", "Paused": "33",
}  # fmt: skip


def print_json(value: Any, stream: TextIO | None = None) -> None:
    """One JSON document, indented, keys in the API server's order; it is harmless on a terminal, too."""
    print(json_text(json.dumps(value, indent=2, ensure_ascii=False)), file=stream or sys.stdout)


def as_list(items: Sequence[Json]) -> dict[str, Any]:
    """Several objects as one document."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": list(items)}


def print_error(error: CommandError, *, as_json: bool) -> None:
    """The error for people on standard error and, if asked for, for programs on standard output."""
    if error.details:
        print(plain_lines(error.details.rstrip("\n")), file=sys.stderr)
    print(f"error: {plain(str(error), _LONGEST_ERROR)}", file=sys.stderr)
    if as_json:
        status = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": error.reason}
        print_json({**status, "message": str(error), "code": error.exit_code})


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int = 0, color: bool = False) -> str:
    """Aligned columns, ending in a line end.

    Args:
        rows: As many cells as headings; anybody's text, control characters are shown as escapes.
        width: The last column is cut to make lines this wide; 0 means no limit (a pipe gets all).
        color: Paint words that are phases.
    """
    cells = [[plain(cell).replace("\t", " ") for cell in row] for row in rows]
    columns = list(zip(headings, *cells, strict=True))
    widths = [max(_columns_of(cell) for cell in column) for column in columns]
    if width:
        widths[-1] = max(len(headings[-1]), min(widths[-1], width - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)))
    lines = [_line(headings, widths, color=False), *(_line(row, widths, color=color) for row in cells)]
    return "".join(f"{line}\n" for line in lines)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """A table to standard output, or one sentence when there is nothing."""
    if not rows:
        print(empty)
        return
    print(table(headings, rows, width=terminal_width(), color=has_color()), end="")


def terminal_width() -> int:
    """Columns of the terminal; 0 when the output goes elsewhere."""
    return terminal_size()[0] if sys.stdout.isatty() else 0


def terminal_size() -> tuple[int, int]:
    """Columns and lines of the terminal; 80 and 24 where it does not know them itself."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return 80, 24
    return size.columns or 80, size.lines or 24


def has_color() -> bool:
    """Whether to paint: on a terminal, unless NO_COLOR is set to anything."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(word: str, *, color: bool) -> str:
    """The word in the color of its meaning."""
    code = _COLORS.get(word, "") if color else ""
    return f"\x1b[{code}m{word}\x1b[0m" if code else word


def age(timestamp: str, now: datetime | None = None) -> str:
    """How long ago, in the two units that matter least: 45s, 3m, 2h, 5d; "" for no timestamp."""
    if not timestamp:
        return ""
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return "?"
    seconds = max(0, int(((now or datetime.now(UTC)) - then).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _line(cells: Sequence[str], widths: Sequence[int], *, color: bool) -> str:
    padded = [_fitted(cell, width, color=color) for cell, width in zip(cells, widths, strict=True)]
    return _GAP.join(padded).rstrip()


def clipped(text: str, width: int) -> str:
    """The text in at most so many columns."""
    if _columns_of(text) <= width:
        return text
    while text and _columns_of(text) >= width:
        text = text[:-1]
    return text.rstrip() + "…"


def _fitted(cell: str, width: int, *, color: bool) -> str:
    cell = clipped(cell, width)
    return painted(cell, color=color) + " " * (width - _columns_of(cell))


def _columns_of(text: str) -> int:
    return len(text) if text.isascii() else sum(_columns_of_character(character) for character in text)


def _columns_of_character(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

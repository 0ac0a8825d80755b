"""Writes git settings straight into a configuration file: one `git config` per setting costs a process each, and a session has twenty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gastown.polecat.errors import Refused

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\b": "\\b"})


def append_settings(path: Path, settings: Sequence[tuple[str, str]]) -> None:
    """Add settings to a file of git's, after those it holds; of a name that may hold several values all count.

    Args:
        settings: (section.variable or section.subsection.variable, value); what git does not expect is the caller's mistake.

    Raises:
        Refused: A value holds a NUL, which such a file can not.
    """
    lines: list[str] = []
    for name, value in settings:
        if "\0" in name + value:
            raise Refused(f"git setting {name!r}", "holds a NUL character", remedy="leave it out", reason="BadEnvironment")
        section, _, rest = name.partition(".")
        subsection, _, variable = rest.rpartition(".")
        # In a subsection only these two are special, and a line end can not be written at all; ours are URLs.
        quoted = subsection.replace("\\", "\\\\").replace('"', '\\"')
        heading = f'[{section} "{quoted}"]' if subsection else f"[{section}]"
        lines.append(f'{heading}\n\t{variable} = "{value.translate(_ESCAPES)}"\n')
    with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write("".join(lines))

"""Git credential helper of a session: reads the projected token at each use, since it rotates; it is in no URL, argument or file of ours.

Run by git as `python -I -m gastown.polecat.credential --token-file FILE get`. `-I` keeps the worktree, which is git's working directory
and an agent's to fill, off the import path. No imports beyond sys and pathlib: this runs once or twice per fetch or push.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

USERNAME = "agent"


def main(arguments: list[str] | None = None, output: TextIO | None = None) -> int:
    """Answer git's `get` with the token; keep and forget nothing.

    Returns:
        Exit code: 0, or 1 when there is no token (git then says that authentication failed, and our line says why).
    """
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) != 3 or words[0] != "--token-file":
        print("usage: gastown-polecat credential --token-file FILE get|store|erase", file=sys.stderr)
        return 2
    if words[2] != "get":
        return 0
    try:
        token = Path(words[1]).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        print(f"repository token {words[1]}: {error}; is the token volume mounted?", file=sys.stderr)
        return 1
    (output or sys.stdout).write(f"username={USERNAME}\npassword={token}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Why work came back from the merge queue, as agents read it in their context and people in `bd show`: the same evidence for both.

File names, lines and logs come from whoever wrote them, so each stands behind a bar or on one printable line.
"""

from __future__ import annotations

from collections.abc import Sequence

from gastown.api import reasons
from gastown.api.bead import BeadStatus, EarlierRework, Rework
from gastown.api.text import plain, quoted

_ON_MAIN = frozenset({reasons.CONFLICTED, reasons.REJECTED})


def instructions(rework: Rework, branch: str, target: str) -> str:
    """What an agent is to do about it, Markdown, ending in a line end.

    Args:
        branch: Of the session; it starts at the head that came back.
        target: The branch it is to land on.
    """
    if rework.reason not in _ON_MAIN:
        return f"It came back from the merge queue: {plain(rework.message) or plain(rework.reason)}\n"
    head, base = plain(rework.head)[:12], plain(rework.base)[:12]
    if rework.reason == reasons.CONFLICTED:
        happened = f"Your work {head} touches what {target} has changed meanwhile (its tip was {base}): the two do not merge."
        after = f"Reconcile the two in every file below, so that what {target} has gained and what the bead asks for both hold."
    else:
        gate = f"gate {plain(rework.gate)}" if rework.gate else "a gate"
        happened = (
            f"Your work {head} merges with {target} at {base}, but there {gate} is red (exit code {rework.exitCode}), each time it was "
            f"tried, while {target} without it is green: something in the work does not fit what {target} has now."
        )
        after = f"Run the gate there: it fails as below. Put it right, without undoing what {target} has gained."
    return (
        f"{happened}\n\n"
        f"1. `git fetch origin && git merge origin/{target}`: {branch} holds your work as handed in, {target} may have moved on.\n"
        f"2. {after}\n"
        "3. Commit, and end as below. A commit that was judged before is not taken again.\n"
    )


def evidence(status: BeadStatus) -> str:
    """All that is known about the last return, and in short about those before it; "" if there was none.

    Returns:
        Paragraphs, ending in a line end.
    """
    rework = status.lastRework
    if rework is None:
        return ""
    parts = [_facts(rework), _files(rework.files), *_hunks(rework), _log(rework), _earlier(status.earlierReworks)]
    return "\n".join(part for part in parts if part)


def _facts(rework: Rework) -> str:
    named = (
        ("merge request", rework.mergeRequestName),
        ("handed in", rework.head),
        ("tried on", rework.base),
        ("as merge", rework.candidate),
        ("tree", rework.tree),
        ("at", rework.time),
    )
    return "".join(f"- {name}: {plain(value)}\n" for name, value in named if value)


def _files(files: Sequence[str]) -> str:
    return "Files in conflict:\n\n" + "".join(f"- {plain(path)}\n" for path in files) if files else ""


def _hunks(rework: Rework) -> list[str]:
    return [f"{plain(hunk.file)}, line {hunk.line}:\n\n{quoted(hunk.text)}" for hunk in rework.hunks]


def _log(rework: Rework) -> str:
    if not rework.gate:
        return ""
    end = f"; the end of its log:\n\n{quoted(rework.logTail)}" if rework.logTail else ", and it wrote nothing.\n"
    return f"Gate {plain(rework.gate)} ended with exit code {rework.exitCode}{end}"


def _earlier(earlier: Sequence[EarlierRework]) -> str:
    if not earlier:
        return ""
    lines = [
        f"- {plain(each.reason)}{' by gate ' + plain(each.gate) if each.gate else ''}: {plain(each.mergeRequestName)} {plain(each.time)}\n"
        for each in earlier
    ]
    return "It came back before that:\n\n" + "".join(lines)

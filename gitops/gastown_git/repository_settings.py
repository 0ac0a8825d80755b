"""How every repository of ours is configured, with the reason for each setting. Applied at creation and at each open."""

from __future__ import annotations

MAX_PUSH_BYTES = 1 << 30
"""Largest pack a push may bring: large enough for a real repository's history, too small to fill the volume at once."""

HIDDEN_FROM_CLIENTS = ("refs/evidence", "refs/keep", "refs/candidates")
"""Refs nobody fetches by name. Thousands of them would be listed to every client for nothing."""

_ADOPTABLE_BLEMISHES = (
    "zeroPaddedFilemode",
    "badTimezone",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingNameBeforeEmail",
    "badDateOverflow",
)
"""What old tools left in well-known histories. Harmless to read; refusing them would make those rigs impossible to adopt."""


def repository_settings(max_push_bytes: int = MAX_PUSH_BYTES) -> list[tuple[str, str]]:
    """List the settings of a bare repository as (key, value); a key may repeat.

    Args:
        max_push_bytes: Limit for one pushed pack.
    """
    return [
        # no program of the repository's own ever runs in our processes
        ("core.hooksPath", "/dev/null"),
        # what a push acknowledged must survive a power cut, small pushes (loose objects) too
        ("core.fsync", "committed,loose-object"),
        ("core.fsyncMethod", "batch"),
        ("core.commitGraph", "true"),
        # maintenance.py decides when; a gc started by a push would race with candidates not yet referenced
        ("gc.auto", "0"),
        ("receive.autogc", "false"),
        ("gc.pruneExpire", "2.weeks.ago"),
        ("gc.worktreePruneExpire", "never"),
        ("maintenance.auto", "false"),
        # strangers' objects are checked before they are stored
        ("transfer.fsckObjects", "true"),
        ("receive.fsckObjects", "true"),
        *((f"fetch.fsck.{name}", "warn") for name in _ADOPTABLE_BLEMISHES),
        # git takes an entry of an unknown mode for a submodule, other programs for a file: no gate could say what it is
        ("receive.fsck.badFilemode", "error"),
        # larger ones are streamed; a push of half a megabyte can unpack to half a gigabyte, and git would hold all of it in memory
        ("core.bigFileThreshold", "16m"),
        ("receive.maxInputSize", str(max_push_bytes)),
        # the server's own rules (server/access.py) decide about rewrites and deletions, after the old tip is kept
        ("receive.denyNonFastForwards", "false"),
        ("receive.denyDeletes", "false"),
        ("receive.advertisePushOptions", "false"),
        ("receive.updateServerInfo", "false"),
        *(("transfer.hideRefs", ref) for ref in HIDDEN_FROM_CLIENTS),
        ("uploadpack.allowFilter", "true"),
        ("uploadpack.allowAnySHA1InWant", "false"),
        ("http.uploadpack", "true"),
        ("http.receivepack", "true"),
        ("http.getanyfile", "false"),
        # a deep negotiation is checked for size by our own server, which streams it
        ("http.maxRequestBuffer", "100M"),
    ]

"""Without a mount namespace: volume paths in command, arguments and environment become the host's. Pure.

Covers what a pod says itself. It cannot reach paths inside scripts and files, which is why this is the fallback and not the rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# What may stand before and after a path for it to be one, and not the middle of some other word.
_BEFORE = r"(?<![\w./-])"
_AFTER = r"(?![\w.-])"


def rewrite(text: str, paths: Mapping[str, str]) -> str:
    """Replace mount paths by host paths, the longest first, only where a whole path starts.

    Args:
        paths: Host path by mount path.
    """
    if not paths:
        return text
    alternatives = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
    return re.sub(f"{_BEFORE}(?:{alternatives}){_AFTER}", lambda match: paths[match[0]], text)

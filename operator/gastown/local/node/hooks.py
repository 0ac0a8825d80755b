"""postStart and preStop of a container."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gastown.local.node.addresses import address_of
from gastown.local.node.launcher import RunningContainer, run_inside
from gastown.local.node.probes import Prober, ports_of


async def run_hook(
    pod: Mapping[str, Any], container: Mapping[str, Any], inside: RunningContainer, name: str, *, timeout_seconds: float
) -> bool:
    """Run one hook to its end.

    Args:
        name: postStart or preStop; a container without it has nothing to run.
        timeout_seconds: The hook is given up after that.
    Returns:
        False if it failed or took too long.
    """
    hook = (container.get("lifecycle") or {}).get(name)
    if not hook or timeout_seconds <= 0:
        return True
    try:
        async with asyncio.timeout(timeout_seconds):
            if "sleep" in hook:
                await asyncio.sleep(float(hook["sleep"].get("seconds") or 0))
                return True
            if "httpGet" in hook:
                request = {"httpGet": hook["httpGet"], "timeoutSeconds": timeout_seconds}
                return await Prober(request, address_of(pod), ports_of(container), inside).try_once()
            result = await run_inside(inside, (hook.get("exec") or {}).get("command") or [], timeout_seconds)
            return result is not None and result.code == 0
    except (TimeoutError, OSError):
        return False

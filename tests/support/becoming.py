"""Waiting inside a coroutine, for things that ring no bell: with a deadline, never a fixed sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def becomes(check: Callable[[], bool], timeout_seconds: float = 60.0, describe: Callable[[], str] = lambda: "") -> None:
    """Return once the check is true.

    Raises:
        AssertionError: Time is up; `describe` says what was there instead.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            while not check():  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(describe() or "did not come true in time") from None

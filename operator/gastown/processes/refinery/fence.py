"""One refinery per volume. Whoever comes second waits until the first one's process has ended, however it ended.

main itself needs no fence: it moves by compare-and-swap and to gated trees alone. But two planners, of which one looks at an old view,
take each other's candidates away and write against each other's statuses, and the queue stands still.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

from gastown.runtime.log import say

logger = logging.getLogger(__name__)

LOCK = "refinery.lock"
LOOK_AGAIN_SECONDS = 0.5


@asynccontextmanager
async def only_refinery(data: Path) -> AsyncIterator[None]:
    """Hold the volume for the length of the block.

    The lock belongs to the open file, so it goes with the process; children do not inherit it.

    Args:
        data: Folder of the repositories.
    """
    with _opened(data / LOCK) as file:
        is_told = False
        while not _taken(file.fileno()):
            if not is_told:
                say(logger, logging.WARNING, "waiting_for_other_refinery", lock=str(data / LOCK))
                is_told = True
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        yield


def _opened(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w")


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

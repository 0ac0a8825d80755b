"""What all daemons do alike: read settings from the environment, log, end on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from gastown.kube.configuration import ConfigurationError
from gastown.runtime.log import say, set_up

logger = logging.getLogger(__name__)


def required(name: str) -> str:
    """A setting from the environment.

    Raises:
        SystemExit: It is not set; the chart sets it.
    """
    value = os.environ.get(name, "")
    if not value:
        sys.exit(f"{name} is not set; the chart sets it for this container (charts/gastown/templates)")
    return value


def town_namespaces() -> list[str]:
    """The namespaces of the towns this process serves."""
    return [name for name in required("GASTOWN_TOWN_NAMESPACES").split(",") if name]


def run_daemon(body: Callable[[], Awaitable[None]]) -> None:
    """Run a daemon's body in a new event loop until it ends or SIGTERM or SIGINT cancels it.

    A body that fails ends the process with exit code 1: all state is in the API server and in git, so starting anew is always right. One
    that finds its environment wrong ends it with 2.
    """
    set_up(os.environ.get("GASTOWN_LOG_LEVEL", "INFO"))
    try:
        asyncio.run(_until_signal(body))
    except ConfigurationError as problem:
        say(logger, logging.ERROR, "cannot_start", problem=str(problem))
        sys.exit(2)
    except Exception as error:  # noqa: BLE001 - the last line of a process says why it ends
        say(logger, logging.ERROR, "ended", exc_info=error, error=str(error))
        sys.exit(1)


async def _until_signal(body: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(body())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        say(logger, logging.INFO, "stopped")

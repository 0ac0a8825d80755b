"""Starts the node agent: `python -m gastown.local.node --config FILE`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from gastown.local.node.agent import Agent, AgentRuns
from gastown.local.node.config import ConfigError, NodeConfig, read_config


def main() -> int:
    """Run the agent until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m gastown.local.node", description="Runs pods as sandboxed processes.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON file written by gt up")
    try:
        config = read_config(parser.parse_args().config)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(_serve(config))
    except AgentRuns as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(config: NodeConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Agent(config).run(stop)


if __name__ == "__main__":
    sys.exit(main())

"""The real operator as a mortal process; a module of its own because the child imports it by name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from gastown.kube.configuration import Configuration
from gastown.processes.daemon import run_daemon
from gastown.processes.operator import Operator, OperatorSettings
from support.mortal import Doom, Fate, Life, MortalClient
from support.operator_run import SETTINGS


def operator_life(folder: Path, doom: Doom, where: Configuration, namespace: str) -> Life:
    """An operator that is not started yet; its steps are its writes."""
    return Life(folder, doom, live, where, namespace)


def live(fate: Fate, where: Configuration, namespace: str) -> None:
    """What the child does."""
    MortalClient.fate = fate
    run_daemon(partial(_live, where, OperatorSettings((namespace,), SETTINGS, health_port=0)))


async def _live(where: Configuration, settings: OperatorSettings) -> None:
    async with MortalClient(where, user_agent="gastown-operator") as client:
        await Operator(client, settings).run()

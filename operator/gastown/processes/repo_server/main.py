"""Front door of the repo-server: settings from the environment, who is who from the API server, the git server from gastown_git."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from aiohttp import web

from gastown.api import labels
from gastown.api.agent import Agent
from gastown.api.core import Pod
from gastown.api.kinds import AGENT, POD
from gastown.kube.aio import Client
from gastown.kube.configuration import in_cluster
from gastown.processes.daemon import required, run_daemon, town_namespaces
from gastown.processes.repo_server.authenticator import Authenticator
from gastown.runtime.informer import Informer
from gastown.runtime.manager import Manager
from gastown.runtime.metrics import Registry
from gastown.runtime.store import Store
from gastown_git.server.app import ServerSettings, create_app, create_runner
from gastown_git.signed_url import load_key


def main() -> None:
    """Run until SIGTERM; a non-zero exit code asks to be started again."""
    settings = ServerSettings(data=Path(required("GASTOWN_DATA")), tree_key=load_key(Path(required("GASTOWN_TREE_KEY_FILE"))))
    run_daemon(lambda: _run(settings))


async def _run(settings: ServerSettings) -> None:
    agents: Store[Agent] = Store(AGENT)
    pods: Store[Pod] = Store(POD)
    async with Client(in_cluster(), user_agent="gastown-repo-server") as client:
        feeds = [Informer(client, AGENT, agents, namespace=namespace) for namespace in town_namespaces()]
        feeds += [Informer(client, POD, pods, namespace=namespace, label_selector=labels.AGENT) for namespace in town_namespaces()]
        manager = Manager(feeds, [], metrics=Registry("gastown_repo_feeds"))
        runner = create_runner(create_app(settings, Authenticator(client, agents, pods, clock=time.monotonic)))
        await runner.setup()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(manager.run())
                for feed in feeds:
                    await feed.pulse.wait_synced()  # before that no agent would be known, and every push refused
                site = web.TCPSite(runner, required("GASTOWN_LISTEN_HOST"), int(os.environ.get("GASTOWN_LISTEN_PORT", "8080")))
                await site.start()
        finally:
            await runner.cleanup()

"""Front door of the refinery: settings from the environment, feeds, one controller over rigs, health endpoint, end by signal."""

from __future__ import annotations

import os
import time
from pathlib import Path

from gastown.actions import Key
from gastown.api.kinds import GATE_RUN, MERGE_REQUEST, RIG, TOWN
from gastown.kube.aio import Client
from gastown.kube.configuration import in_cluster
from gastown.processes.daemon import required, run_daemon, town_namespaces
from gastown.processes.refinery.controller import RigDecider, Settings, Stores
from gastown.processes.refinery.fence import only_refinery
from gastown.runtime.controller import Controller
from gastown.runtime.executor import Executor
from gastown.runtime.health import health_server
from gastown.runtime.informer import Informer
from gastown.runtime.manager import Manager
from gastown.runtime.metrics import Registry
from gastown_git.git_process import require_git
from gastown_git.signed_url import load_key

KINDS = (RIG, TOWN, MERGE_REQUEST, GATE_RUN)


def main() -> None:
    """Run until SIGTERM; a non-zero exit code asks to be started again."""
    require_git()
    upstreams = os.environ.get("GASTOWN_LOCAL_UPSTREAMS", "")
    settings = Settings(
        data=Path(required("GASTOWN_DATA")),
        repo_url=required("GASTOWN_REPO_URL"),
        tree_key=load_key(Path(required("GASTOWN_TREE_KEY_FILE"))),
        local_upstreams=Path(upstreams) if upstreams else None,
    )
    run_daemon(lambda: _run(settings))


async def _run(settings: Settings) -> None:
    metrics = Registry("gastown_refinery")
    stores = Stores()
    async with only_refinery(settings.data), Client(in_cluster(), user_agent="gastown-refinery") as client:
        executor = Executor(
            client, stores.by_kind(), component="gastown-refinery", metrics=metrics, clock=time.monotonic, wall_clock=client.clock.now
        )
        feeds = [Informer(client, kind, stores.by_kind()[kind], namespace=namespace) for namespace in town_namespaces() for kind in KINDS]

        def wake(key: Key) -> None:
            controller.enqueue(key)

        decider = RigDecider(settings, stores, wake, time.time)
        controller = Controller(
            "rigs",
            observe=decider.observe,
            decide=decider.decide,
            executor=executor,
            needs=feeds,
            metrics=metrics,
            clock=client.clock.now,
        )
        stores.wake(controller.enqueue)
        manager = Manager(feeds, [controller], metrics=metrics)
        host, port = required("GASTOWN_LISTEN_HOST"), int(os.environ.get("GASTOWN_HEALTH_PORT", "8081"))
        async with health_server(host, port, why_dead=manager.why_dead, why_not_ready=manager.why_not_ready, metrics=metrics):
            await manager.run()

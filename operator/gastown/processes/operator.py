"""The operator: kopf for quiet kinds, our own informers for hot kinds, our control loop.

It owns no state: killed at any moment, the next one lists, watches and goes on. It ends itself, with an exit code that is not 0, when a
feed or a controller dies of a bug, because a fresh start is always right and a half-blind operator never is. An API server that is away,
slow or odd is no such reason: that is outlasted, and so is the end of kopf.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import kopf

from gastown.api import kinds, labels
from gastown.api.kinds import Kind
from gastown.controllers.control_loop import Settings, make_controllers
from gastown.controllers.stores import make_stores
from gastown.kube import configuration
from gastown.kube.aio import Client
from gastown.kube.configuration import ConfigurationError
from gastown.processes.daemon import run_daemon
from gastown.processes.patience import patience_from
from gastown.runtime.controller import Controller
from gastown.runtime.executor import Executor
from gastown.runtime.feed import Feed
from gastown.runtime.health import health_server
from gastown.runtime.informer import Informer
from gastown.runtime.kopf_engine import KopfEngine
from gastown.runtime.kopf_feed import KopfFeed
from gastown.runtime.log import say
from gastown.runtime.manager import Manager
from gastown.runtime.metrics import Registry

logger = logging.getLogger(__name__)

COMPONENT = "gastown-operator"
# People's kinds: few objects, few changes. All others are hot.
QUIET = (kinds.TOWN, kinds.RIG, kinds.AGENT_PROFILE, kinds.CONVOY)
# Kind -> label selector: of Kubernetes' own kinds only what we made.
HOT: Mapping[Kind, str] = {
    kinds.BEAD: "",
    kinds.AGENT: "",
    kinds.MERGE_REQUEST: "",
    kinds.GATE_RUN: "",
    kinds.POD: f"{labels.PART_OF}=gastown",
    kinds.LEASE: f"{labels.PART_OF}=gastown",
    kinds.JOB: f"{labels.PART_OF}=gastown",
}
STOP_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """The environment of the process.

    Attributes:
        namespaces: Those that are towns.
        health_port: Of /healthz, /readyz and /metrics; 0 takes a free one.
    """

    namespaces: tuple[str, ...]
    loop: Settings
    listen_host: str = "127.0.0.1"
    health_port: int = 8081

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> OperatorSettings:
        """Read the variables the chart sets.

        Raises:
            ConfigurationError: A variable is missing or odd; the message names it.
        """
        namespaces = tuple(name.strip() for name in environment.get("GASTOWN_TOWN_NAMESPACES", "").split(",") if name.strip())
        if not namespaces:
            raise ConfigurationError("GASTOWN_TOWN_NAMESPACES is empty; name the namespaces that are towns, such as town")
        url, image = environment.get("GASTOWN_REPO_URL", "").rstrip("/"), environment.get("GASTOWN_SESSION_IMAGE", "")
        for name, value in (("GASTOWN_REPO_URL", url), ("GASTOWN_SESSION_IMAGE", image)):
            if not value:
                raise ConfigurationError(f"{name} is empty; the chart sets it")
        port = environment.get("GASTOWN_HEALTH_PORT", "8081")
        if not port.isdigit():
            raise ConfigurationError(f"GASTOWN_HEALTH_PORT is {port!r}; it must be a number")
        host = environment.get("GASTOWN_LISTEN_HOST", "127.0.0.1") or "127.0.0.1"
        return cls(namespaces, Settings(url, image, patience_from(environment)), host, int(port))


class Operator:
    """One operator: built in the loop that runs it.

    Attributes:
        client: The one identity all requests are made with.
        metrics: Of this process; writes are counted here.
        stores: What it knows.
        feeds: What keeps that up to date.
        quiet_feeds: Those of them that kopf tells.
        controllers: What it decides.
        manager: Owner of feeds and controllers.
    """

    def __init__(self, client: Client, settings: OperatorSettings) -> None:
        self.client = client
        self.metrics = Registry("gastown")
        self.stores = make_stores()
        self._settings = settings
        self._registry = kopf.OperatorRegistry()
        self.quiet_feeds = [
            KopfFeed(client, kind, self.stores.by_kind()[kind], registry=self._registry, namespaces=settings.namespaces) for kind in QUIET
        ]
        self.feeds = self._make_feeds()
        self.executor = Executor(
            client, self.stores.by_kind(), component=COMPONENT, metrics=self.metrics, clock=time.monotonic, wall_clock=client.clock.now
        )
        make = partial(Controller, clock=client.clock.now)
        self.controllers = make_controllers(self.stores, settings.loop, self.executor, self.feeds, self.metrics, make)
        engine = KopfEngine(client.configuration, self._registry, self.quiet_feeds, settings.namespaces)
        self.manager = Manager(self.feeds, self.controllers, metrics=self.metrics, tasks=[engine.run])

    async def run(self) -> None:
        """Run until cancelled; then decisions under way end first.

        Raises:
            BaseException: What a part failed with. End the process with an exit code that is not 0.
        """
        work = asyncio.create_task(self._run_loop(), name="control loop")
        try:
            await asyncio.wait([work])
        finally:
            work.cancel()
            await asyncio.wait([work], timeout=STOP_SECONDS)
        work.result()

    def _make_feeds(self) -> list[Feed]:
        by_kind, namespaces = self.stores.by_kind(), self._settings.namespaces
        feeds: list[Feed] = [*self.quiet_feeds]
        for kind, selector in HOT.items():
            feeds += [Informer(self.client, kind, by_kind[kind], namespace=name, label_selector=selector) for name in namespaces]
        return feeds

    async def _run_loop(self) -> None:
        async with health_server(
            self._settings.listen_host,
            self._settings.health_port,
            why_dead=self.manager.why_dead,
            why_not_ready=self.manager.why_not_ready,
            metrics=self.metrics,
        ) as port:
            say(logger, logging.INFO, "started", namespaces=",".join(self._settings.namespaces), health_port=port)
            await self.manager.run()


async def run_operator() -> None:
    """Run the operator that the environment describes until it is cancelled."""
    settings = OperatorSettings.from_environment(os.environ)
    async with Client(configuration.in_cluster(), user_agent=COMPONENT) as client:
        await Operator(client, settings).run()


def main() -> None:
    """The console script gastown-operator."""
    # kopf tells each event at INFO and each attempt at ERROR; what it is worth to us our own log says.
    logging.getLogger("kopf").setLevel(logging.CRITICAL)
    run_daemon(run_operator)


if __name__ == "__main__":
    main()

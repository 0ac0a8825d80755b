"""claim_winners: how many of several simultaneous claimers of one bead are told that they have it."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.rows import Row, median
from gastown.api.kinds import BEAD
from gastown.kube.aio import Client
from gastown.kube.errors import ApiError
from gastown.local.control_plane_commands import Options
from support.cluster import CRDS, Cluster, running

NAMES = ("claim_winners",)
CLAIMERS = (2, 8, 64)
RACES = 50
NAMESPACE = "claims"


def run() -> list[Row]:
    """50 races each of 2, 8 and 64 claimers on a real API server, each with a connection of its own."""
    options = Options(durable=False, controllers=False)
    with tempfile.TemporaryDirectory(prefix="gastown-bench-") as folder, running(Path(folder) / "town", options) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        cluster.make_namespace(NAMESPACE)
        winners, careless = asyncio.run(_all_races(cluster))
    counts = {str(claimers): sorted(set(found)) for claimers, found in winners.items()}
    every = [count for found in winners.values() for count in found]
    return [
        Row(
            name="claim_winners",
            value=median(every),
            unit="winners",
            goal="1 in every race",
            ok=set(every) == {1},
            reference=f"patch without a test, 8 claimers: {median(careless):g} told so",
            ratio=median(every) / median(careless),
            how=f"{RACES} races each of {', '.join(map(str, CLAIMERS))} claimers by JSON patch that tests phase and assignee",
            details={"winners seen by number of claimers": counts},
        )
    ]


async def _all_races(cluster: Cluster) -> tuple[dict[int, list[int]], list[int]]:
    configuration = cluster.configuration()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(configuration, user_agent=f"claimer-{number}", connections=1))
            for number in range(max(CLAIMERS))
        ]
        winners = {}
        for claimers in CLAIMERS:
            winners[claimers] = [await _race(clients[:claimers], f"gp-{claimers}x{race}", careful=True) for race in range(RACES)]
        careless = [await _race(clients[:8], f"gp-careless{race}", careful=False) for race in range(5)]
    return winners, careless


async def _race(clients: Sequence[Client], name: str, *, careful: bool) -> int:
    """Let all claim one new bead at once; returns how many were told that they won."""
    bead: dict[str, Any] = {"apiVersion": BEAD.api_version, "kind": BEAD.name, "metadata": {"name": name, "namespace": NAMESPACE}}
    await clients[0].create(BEAD, {**bead, "spec": {"title": "claim me"}}, raw=True)
    await clients[0].merge_patch(BEAD, NAMESPACE, name, {"status": {"phase": "Ready"}}, subresource="status", raw=True)

    async def claim(client: Client, claimer: str) -> bool:
        tests = [{"op": "test", "path": "/status/phase", "value": "Ready"}, {"op": "test", "path": "/spec/assignee", "value": ""}]
        with contextlib.suppress(ApiError):
            if careful:
                patch = [*tests, {"op": "replace", "path": "/spec/assignee", "value": claimer}]
                await client.json_patch(BEAD, NAMESPACE, name, patch, raw=True)
            else:
                await client.merge_patch(BEAD, NAMESPACE, name, {"spec": {"assignee": claimer}}, raw=True)
            return True
        return False

    told = await asyncio.gather(*(claim(client, f"agent-{number}") for number, client in enumerate(clients)))
    return sum(told)

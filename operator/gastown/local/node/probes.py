"""Startup, readiness and liveness probes of one container run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from gastown.local.node.launcher import RunningContainer, run_inside

Outcome = Callable[[], None]

# A program needs some moments to listen. Waiting a whole period after the first try would make every roll-out that slow.
_EAGER_FIRST_SECONDS = 0.05
_EAGER_FACTOR = 1.5


class Prober:
    """Runs one probe until cancelled.

    Args:
        probe: The `startupProbe`, `readinessProbe` or `livenessProbe` of a container.
        address: Of the pod.
        ports: Container port by name.
        inside: For exec probes.
    """

    def __init__(self, probe: Mapping[str, Any], address: str, ports: Mapping[str, int], inside: RunningContainer) -> None:
        self._probe = probe
        self._address = address
        self._ports = ports
        self._inside = inside
        self.failure = ""

    async def run(self, on_success: Outcome, on_failure: Outcome, *, eager: bool, until_success: bool = False) -> None:
        """Probe by its period and thresholds.

        Args:
            on_success, on_failure: Called each time the threshold is reached or passed.
            eager: Until the first success try more often than the period says; these extra tries never count as failures.
            until_success: End after the first success (startup).
        """
        period = float(self._probe.get("periodSeconds") or 10)
        success_threshold = int(self._probe.get("successThreshold") or 1)
        failure_threshold = int(self._probe.get("failureThreshold") or 3)
        await asyncio.sleep(float(self._probe.get("initialDelaySeconds") or 0))
        successes = failures = 0
        next_counted = asyncio.get_running_loop().time()
        pause = _EAGER_FIRST_SECONDS
        while True:
            is_good = await self.try_once()
            now = asyncio.get_running_loop().time()
            is_counted = now >= next_counted
            if is_counted:
                next_counted = now + period
            if is_good:
                successes, failures, eager = successes + 1, 0, False
                if successes >= success_threshold:
                    on_success()
                    if until_success:
                        return
            elif is_counted:
                successes, failures = 0, failures + 1
                if failures >= failure_threshold:
                    on_failure()
                    failures = failure_threshold
            wait = max(0.0, next_counted - now)
            if eager:
                wait, pause = min(wait, pause), pause * _EAGER_FACTOR
            await asyncio.sleep(wait)

    async def try_once(self) -> bool:
        """One attempt within the probe's timeout; `failure` tells why it did not succeed."""
        timeout = float(self._probe.get("timeoutSeconds") or 1)
        try:
            async with asyncio.timeout(timeout):
                self.failure = await self._attempt(timeout)
        except TimeoutError:
            self.failure = f"no answer within {timeout:g}s"
        except (OSError, aiohttp.ClientError, ValueError) as error:
            self.failure = str(error) or type(error).__name__
        return not self.failure

    async def _attempt(self, timeout: float) -> str:
        if command := self._probe.get("exec"):
            result = await run_inside(self._inside, command.get("command") or [], timeout)
            if result is None:
                return f"command took longer than {timeout:g}s"
            return "" if result.code == 0 else f"exit code {result.code}: {result.output[:512].decode(errors='replace')}"
        if action := self._probe.get("httpGet"):
            return await self._http_get(action)
        if action := self._probe.get("tcpSocket"):
            _, writer = await asyncio.open_connection(action.get("host") or self._address, self._port(action["port"]))
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return ""
        return "this kind of probe is not supported by the process node; use httpGet, tcpSocket or exec"

    async def _http_get(self, action: Mapping[str, Any]) -> str:
        scheme = (action.get("scheme") or "HTTP").lower()
        path = "/" + (action.get("path") or "/").lstrip("/")
        url = f"{scheme}://{action.get('host') or self._address}:{self._port(action['port'])}{path}"
        headers = {each["name"]: each["value"] for each in action.get("httpHeaders") or []}
        connector = aiohttp.TCPConnector(ssl=False, force_close=True)
        headers = {"User-Agent": "kube-probe", **headers}
        # As the kubelet does: any answer below 400 is good, and a redirect is an answer.
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, headers=headers, allow_redirects=False) as answer,
        ):
            return "" if 200 <= answer.status < 400 else f"HTTP {answer.status} from {url}"

    def _port(self, port: int | str) -> int:
        if isinstance(port, int):
            return port
        if port in self._ports:
            return self._ports[port]
        if port.isdigit():
            return int(port)
        raise ValueError(f"the probe names port {port!r}, which is none of the container's")


def ports_of(container: Mapping[str, Any]) -> dict[str, int]:
    """Container ports by name, as probes and hooks may call them."""
    return {each["name"]: int(each["containerPort"]) for each in container.get("ports") or [] if each.get("name")}

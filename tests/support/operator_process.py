"""The real operator as a process of its own, with the token and the rights that the chart gives it, outside of any pod."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from support.cluster import Cluster
from support.eventually import eventually
from support.installed_chart import SYSTEM
from support.session_pod import mount_account

START_SECONDS = 60
STOP_SECONDS = 30


@dataclass(frozen=True)
class OperatorProcess:
    """An operator that is ready.

    Attributes:
        process: Signal it by this.
        log: What it wrote.
    """

    process: subprocess.Popen[bytes]
    log: Path

    def resident_bytes(self) -> int:
        """Memory it holds now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def operator_process(cluster: Cluster, folder: Path, *, towns: str = "town") -> Iterator[OperatorProcess]:
    """Run `gastown-operator` for the length of a block.

    Args:
        cluster: The chart is installed there.
        folder: Becomes its ServiceAccount folder, and gets operator.log.
        towns: Comma separated.
    """
    environment = os.environ | mount_account(cluster, SYSTEM, "operator", folder)
    environment |= {
        "GASTOWN_TOWN_NAMESPACES": towns,
        "GASTOWN_REPO_URL": "http://repo.invalid:8080",
        "GASTOWN_SESSION_IMAGE": "gastown/session:test",
        "GASTOWN_HEALTH_PORT": "0",
    }
    log = folder / "operator.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "gastown.processes.operator"], env=environment, stdout=output, stderr=output)
    try:
        eventually(lambda: _is_ready(process, log), START_SECONDS, "the operator is ready")
        yield OperatorProcess(process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def _is_ready(process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the operator ended with exit code {process.returncode}: {log.read_text()[-2000:]}")
    port = _health_port(log)
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return port > 0 and bool(answer.status == 200)
    except OSError:
        return False


def _health_port(log: Path) -> int:
    """The free one it took, from its log; 0 if it has not told yet."""
    found = re.search(r"health_port=(\d+)", log.read_text())
    return int(found.group(1)) if found else 0

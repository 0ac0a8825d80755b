"""The program `gastown-polecat`: usage, and init steps that say why they failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAVY = {"kopf", "kubernetes", "pygit2", "asyncio", "jsonschema", "msgspec", "yaml", "aiohttp", "cryptography"}


def polecat(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gastown.polecat.main", *arguments]
    return subprocess.run(command, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, timeout=60)


def test_usage_has_every_subcommand_and_an_example() -> None:
    done = polecat("--help")
    assert done.returncode == 0
    for word in ("checkout", "run", "gate-source", "credential", "Example:"):
        assert word in done.stdout
    assert (polecat().returncode, polecat("dance").returncode) == (2, 2)


def test_an_init_step_tells_its_failure_in_log_and_termination_message(tmp_path: Path) -> None:
    for command, missing in (("checkout", "GASTOWN_NAMESPACE"), ("gate-source", "GASTOWN_SOURCE_URL")):
        log = tmp_path / command
        done = polecat(command, GASTOWN_TERMINATION_LOG=str(log), GASTOWN_WORKSPACE=str(tmp_path))
        assert done.returncode == 1
        assert log.read_text() == done.stderr.rstrip("\n")
        assert log.read_text().startswith(f"{command}: environment variable {missing}: is not set; ")


def test_the_credential_helper_reads_its_file_and_stores_nothing(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    helper = ("credential", "--token-file", str(tmp_path / "token"))
    assert polecat(*helper, "get").stdout == "username=agent\npassword=secret\n"
    assert polecat(*helper, "store").stdout == polecat(*helper, "erase").stdout == ""
    (tmp_path / "token").unlink()
    done = polecat(*helper, "get")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is the token volume mounted?" in done.stderr


def test_the_harness_needs_nothing_beyond_the_standard_library() -> None:
    script = (
        "import sys, gastown.polecat.run, gastown.polecat.init, gastown.polecat.checkout, gastown.polecat.adapters.shell, "
        "gastown.polecat.gate_source, gastown.polecat.tree_source; print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())

"""The programs themselves: help, unknown commands, and what a call imports."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from gastown.cli.bd.main import COMMANDS as BD
from gastown.cli.gt.main import COMMANDS as GT
from gastown.local.certificates import ensure_certificates
from support.command_line import CommandLine

ALL = [("gt", command) for command in GT] + [("bd", command) for command in BD]
# Each costs a short-lived program more than all of its own work.
HEAVY = {"kopf", "kubernetes", "pygit2", "asyncio", "jsonschema", "msgspec", "yaml", "aiohttp"}


@pytest.mark.parametrize(("program", "words"), [(program, command.words) for program, command in ALL])
def test_help_shows_what_it_does_an_example_and_the_exit_codes(program: str, words: str, tmp_path: Path) -> None:
    done = CommandLine(tmp_path).run([program, *words.split(), "--help"])
    assert done.returncode == 0
    assert f"example:\n  {program} " in done.stdout or "example:\n  git " in done.stdout or 'example:\n  eval "$(gt' in done.stdout
    assert "exit codes:" in done.stdout
    assert "--json" in done.stdout


@pytest.mark.parametrize(("program", "module"), [(program, command.module) for program, command in ALL])
def test_every_example_names_its_own_command(program: str, module: str) -> None:
    words = next(command.words for name, command in ALL if (name, command.module) == (program, module))
    assert f"{program} {words}" in import_module(module).EXAMPLE


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("bd lst", "error: bd lst: no such command; did you mean bd list?\n", id="a typo"),
        pytest.param("gt convoy", "error: gt convoy: one word is missing; use one of: convoy list, convoy status\n", id="half a command"),
        pytest.param("gt frobnicate", "error: gt frobnicate: no such command; see gt --help\n", id="nonsense"),
    ],
)
def test_an_unknown_command_is_wrong_usage(line: str, told: str, tmp_path: Path) -> None:
    done = CommandLine(tmp_path).run(line)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    assert CommandLine(tmp_path).run("bd create title -p 9").returncode == 2


@pytest.mark.parametrize("arguments", [["gt", "hook"], ["bd", "close", "gp-1"], ["bd", "show", "gp-1"], ["gt", "done"], ["gt", "prime"]])
def test_a_call_in_a_pod_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    variables = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1", "GASTOWN_SERVICEACCOUNT_DIR": str(tmp_path)}
    variables |= {"GASTOWN_NAMESPACE": "town", "GASTOWN_AGENT": "greeter-max"}
    certificates = ensure_certificates(tmp_path, "node", "127.0.0.1")  # the client loads an authority before it connects
    (tmp_path / "ca.crt").write_bytes(certificates.cluster_authority.certificate.read_bytes())
    program, *rest = arguments
    script = (
        f"import sys, json; from gastown.cli.{program}.main import main; code = main({rest!r}); "
        "print(json.dumps([code, sorted(name.partition('.')[0] for name in sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, timeout=60)
    code, modules = json.loads(done.stdout)
    assert code == 5, done.stderr  # all the way to the server, which is away
    assert HEAVY.isdisjoint(modules)

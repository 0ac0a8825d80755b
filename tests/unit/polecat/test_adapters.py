"""Adapters: found by name, and the shell one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gastown.api.agent_profile import ADAPTERS
from gastown.polecat.adapters.base import AgentRun, Terminal, Text
from gastown.polecat.adapters.registry import get_adapter
from gastown.polecat.adapters.shell import ShellAdapter
from gastown.polecat.errors import Refused


def run(*command: str) -> AgentRun:
    return AgentRun(command=command, model="", context="", worktree=Path("/w"), home=Path("/h"))


def test_the_shell_adapter_runs_the_profiles_command_as_it_is() -> None:
    invocation = ShellAdapter().invocation(run("sh", "-c", "echo $(date)"))
    assert (invocation.arguments, invocation.environment, invocation.files) == (["sh", "-c", "echo $(date)"], {}, {})


def test_a_profile_without_a_command_is_told_what_to_set() -> None:
    with pytest.raises(Refused, match=r"adapter shell has no command to run; set AgentProfile\.spec\.command"):
        ShellAdapter().invocation(run())


@pytest.mark.parametrize(
    ("exit_code", "verdict"),
    [
        pytest.param(0, Terminal(ok=True), id="success"),
        pytest.param(2, Terminal(ok=False, reason="AgentFailed", message="the agent's command ended with exit code 2"), id="failure"),
        pytest.param(-9, Terminal(ok=False, reason="AgentKilled", message="the agent's command was ended by SIGKILL"), id="killed"),
    ],
)
def test_the_exit_code_of_a_shell_command_is_its_verdict(exit_code: int, verdict: Terminal) -> None:
    parser = ShellAdapter().parser()
    assert parser.read_line("working") == (Text("working"),)
    assert parser.finish(exit_code) == verdict


def test_adapters_are_found_by_name_and_the_others_refused_by_name() -> None:
    assert get_adapter("shell").name == "shell"
    for name in {*ADAPTERS, "nonsense"} - {"shell"}:
        with pytest.raises(Refused, match=f"adapter '{name}' is"):
            get_adapter(name)

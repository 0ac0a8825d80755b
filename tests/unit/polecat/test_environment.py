"""What the agent's command finds in its environment, whatever stands in the bead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gastown.api.bead import Bead, BeadSpec
from gastown.api.meta import ObjectMeta
from gastown.polecat.environment import VALUE_LIMIT_BYTES, agent_environment, write_files
from gastown.polecat.session import Session


def session(workspace: Path) -> Session:
    return Session(
        namespace="town",
        rig="greeter",
        agent="greeter-max",
        bead="gp-1",
        repository_url="http://repo/town/greeter.git",
        workspace=workspace,
    )


def bead(title: str = "Title", description: str = "") -> Bead:
    return Bead(metadata=ObjectMeta(name="gp-1"), spec=BeadSpec(title=title, description=description, labels=["a b", "c"]))


def test_the_bead_and_the_identity_for_commits_are_there(tmp_path: Path) -> None:
    found = agent_environment(session(tmp_path), bead("Greet"), {"PATH": "/bin", "PROFILE": "kept", "HOME": "/root"})
    expected = {
        "PROFILE": "kept",
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "BD_ACTOR": "greeter/polecats/max",
        "GASTOWN_BEAD_TITLE": "Greet",
        "GASTOWN_BEAD_TYPE": "task",
        "GASTOWN_BEAD_LABELS": '["a b", "c"]',
        "GASTOWN_CONTEXT_FILE": str(tmp_path / "context.md"),
        "GASTOWN_BEAD_FILE": str(tmp_path / "bead.json"),
        "GASTOWN_RESULT_FILE": str(tmp_path / "result.json"),
        "GIT_AUTHOR_NAME": "greeter/polecats/max",
        "GIT_COMMITTER_EMAIL": "greeter-max@town.gastown.invalid",
    }
    assert {name: found[name] for name in expected} == expected
    assert found["PATH"] == f"/bin{os.pathsep}{Path(sys.executable).parent}"


def test_a_text_too_long_for_a_variable_is_cut_and_the_file_has_all_of_it(tmp_path: Path) -> None:
    text = "é" * 128 * 1024  # 256 KiB
    found = agent_environment(session(tmp_path), bead(description=text), {})
    value = found["GASTOWN_BEAD_DESCRIPTION"]
    assert len(value.encode()) <= VALUE_LIMIT_BYTES
    assert value.endswith("[cut here; all of it is in the file $GASTOWN_BEAD_FILE]")
    write_files(session(tmp_path), bead(description=text), "context")
    assert json.loads((tmp_path / "bead.json").read_text())["spec"]["description"] == text
    assert subprocess.run(["true"], env=found, timeout=10).returncode == 0


@settings(max_examples=20, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=2000))
def test_any_text_reaches_the_command_as_it_is_but_for_nul_and_lone_surrogates(text: str) -> None:
    found = agent_environment(session(Path("/workspace")), bead(title=text), {"PATH": os.environ["PATH"]})
    done = subprocess.run(["printenv", "GASTOWN_BEAD_TITLE"], env=found, capture_output=True, timeout=10)
    assert done.stdout[:-1] == text.replace("\0", "").encode("utf-8", "replace")

"""Settings written straight into git's file are read by git as they were meant."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gastown.polecat.errors import Refused
from gastown.polecat.git_settings import append_settings


def read_by_git(path: Path, name: str) -> list[str]:
    """All values of a setting."""
    command = ["git", "config", "--file", str(path), "--null", "--get-all", name]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("remote.origin.url", "http://repo:8080/town/greeter.git", id="an address"),
        pytest.param("credential.http://[::1]:8080.helper", "!'/opt/my python' -m x --token-file '/a b/token'", id="a helper with spaces"),
        pytest.param("user.name", 'Max "the" \\ Mad # one ; two', id="quotes, backslash and what begins a comment"),
        pytest.param("gastown.restored", "", id="empty"),
        pytest.param("user.name", "  spaces around\tand a tab\nand a line end  ", id="blanks"),
        pytest.param("user.name", "Möwe", id="not ASCII"),
    ],
)
def test_git_reads_what_was_written(tmp_path: Path, name: str, value: str) -> None:
    append_settings(tmp_path / "config", [(name, value)])
    assert read_by_git(tmp_path / "config", name) == [value]


def test_what_the_file_held_stays_and_a_second_value_is_added(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("[core]\n\tbare = true\n[a]\n\tb = 1\n")
    append_settings(path, [("credential.helper", ""), ("a.b", "2"), ("credential.helper", "x")])
    assert (read_by_git(path, "core.bare"), read_by_git(path, "a.b"), read_by_git(path, "credential.helper")) == (
        ["true"],
        ["1", "2"],
        ["", "x"],
    )


def test_a_value_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds a NUL character"):
        append_settings(tmp_path / "config", [("user.name", "a\0b")])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_text_survives(tmp_path: Path, value: str) -> None:
    path = tmp_path / "law"
    path.unlink(missing_ok=True)
    append_settings(path, [("a.b", value)])
    assert read_by_git(path, "a.b") == [value]

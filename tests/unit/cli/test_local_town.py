"""`gt up`, `gt down` and `gt status` where there is no town yet; with one they are tested in e2e/."""

from __future__ import annotations

import json
from pathlib import Path

from support.command_line import CommandLine


def prompt(folder: Path) -> CommandLine:
    return CommandLine(folder, {"XDG_STATE_HOME": str(folder / "state")})


def test_a_name_that_can_not_be_one_is_refused_with_the_rule(tmp_path: Path) -> None:
    done = prompt(tmp_path).run(["gt", "up", "--town", "Hill Valley", "--json"])
    assert (done.returncode, done.stderr) == (
        1, "error: local town Hill Valley: town name 'Hill Valley': use 1 to 40 lower-case letters, digits and dashes, such as default\n",
    )  # fmt: skip
    assert json.loads(done.stdout)["reason"] == "LocalTown"


def test_taking_down_what_was_never_up_is_fine_and_says_so(tmp_path: Path) -> None:
    done = prompt(tmp_path).run("gt down")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"town default was never up: {tmp_path}/state/gastown/default does not exist\n"
    assert not (tmp_path / "state").exists()


def test_status_of_nothing_at_all_is_exit_code_1_and_says_what_to_do(tmp_path: Path) -> None:
    done = prompt(tmp_path).run("gt status")
    assert done.returncode == 1
    assert done.stdout == (
        "local town default: was never up (start it with `gt up`)\n"
        f"no town in reach: kubeconfig {tmp_path}/.kube/config: no such file; run `gt up` and export the KUBECONFIG it prints, "
        "or pass --kubeconfig\n"
    )
    document = json.loads(prompt(tmp_path).run("gt status --json").stdout)
    assert (document["local"], document["cluster"]) == (None, None)

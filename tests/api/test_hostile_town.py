"""A town full of garbage under a live operator: nothing crashes, what can go on goes on, and nobody's terminal or log is touched by it."""

from __future__ import annotations

import io
import json
import logging
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gastown.api import kinds
from gastown.api.kinds import GASTOWN_KINDS, Kind
from gastown.decide import session_status
from gastown.runtime.log import JsonFormatter, KeyValueFormatter
from support.cluster import Cluster
from support.command_line import CommandLine
from support.eventually import eventually
from support.garbage_town import GarbageTown
from support.operator_run import OperatorRun, running_operator
from support.played_town import PlayedTown

pytestmark = pytest.mark.cluster

OVER = ("Landed", "Failed")


@dataclass
class Story:
    """What happened in the town.

    Attributes:
        phases: Of the beads that hold garbage, by name.
        results: Decisions of the operator by how they ended, then by controller.
        logs: Everything this process logged, as JSON and as text.
    """

    town: GarbageTown
    phases: dict[str, str] = field(default_factory=dict)
    results: dict[str, dict[str, float]] = field(default_factory=dict)
    logs: tuple[str, str] = ("", "")


@pytest.fixture(scope="module")
def story(api_server: Cluster) -> Story:
    """A town whose garbage has been worked off, as far as it can be."""
    played = PlayedTown(api_server, api_server.make_namespace(f"hostile-{os.getpid()}"))
    told = Story(GarbageTown(played))
    played.found(max_polecats=10, town={"capacity": {"maxPolecats": 40}})
    with pytest.MonkeyPatch.context() as patched, _logs() as streams:
        patched.setattr(session_status, "REFUSED_SECONDS", 1)
        told.town.fill()
        with running_operator(played.cluster.configuration(), played.namespace) as run, played.playing():
            played.bead("gp-clean")
            eventually(lambda: played.phase("gp-clean") == "Landed", 180, "a clean bead landed among the others")
            eventually(lambda: not _open(told.town), 240, "all beads are over")
            eventually(
                lambda: all(item.get("status", {}).get("phase") for item in played.all(kinds.CONVOY)), 120, "all convoys were judged"
            )
            assert run.live().manager.why_dead() == ""
            told.phases = _phases(told.town)
            told.results = {result: _results(run, result) for result in ("error", "refused", "unavailable")}
    told.logs = (streams[0].getvalue(), streams[1].getvalue())
    return told


@contextmanager
def _logs() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    streams = (io.StringIO(), io.StringIO())
    handlers = [logging.StreamHandler(stream) for stream in streams]
    root, level = logging.getLogger(), logging.getLogger().level
    for handler, formatter in zip(handlers, (JsonFormatter(), KeyValueFormatter()), strict=True):
        handler.setFormatter(formatter)
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield streams
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)


def _phases(town: GarbageTown) -> dict[str, str]:
    beads = {item["metadata"]["name"]: item.get("status", {}).get("phase", "") for item in town.played.all(kinds.BEAD)}
    return {f"gp-{number}": beads[f"gp-{number}"] for number in range(len(town.values))}


def _open(town: GarbageTown) -> bool:
    """Whether a bead is under way; tells which, as the failure of a wait."""
    waiting = {name: (phase, town.played.condition(name, "Startable")) for name, phase in _phases(town).items() if phase not in OVER}
    assert not waiting, waiting
    return False


def _results(run: OperatorRun, result: str) -> dict[str, float]:
    lines = run.live().metrics.text().splitlines()
    wanted = [line for line in lines if "decisions_total{" in line and f'result="{result}"' in line]
    return {line.split('controller="')[1].split('"')[0]: float(line.rsplit(" ", 1)[1]) for line in wanted}


def acting(text: str) -> set[str]:
    """Characters in it that a terminal obeys or hides."""
    return {
        character for character in text if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\t\n"
    }


# The operator


def test_all_beads_land_but_those_whose_pods_no_server_takes(story: Story) -> None:
    print(f"\n{story.town.holds} leaves hold garbage; refused by rules: {sorted(set(story.town.refused))}")
    failed = {name for name, phase in story.phases.items() if phase == "Failed"}
    named_runtime_class = {f"gp-{number}" for number, name in enumerate(story.town.values) if name in ("a number", "yes and no")}
    assert failed == named_runtime_class
    assert min(story.town.holds[kind.name] for kind in (kinds.BEAD, kinds.CONVOY, kinds.AGENT_PROFILE, kinds.RIG)) > 100


def test_no_decision_met_a_bug_and_only_refused_pods_were_tried_again(story: Story) -> None:
    assert story.results["error"] == {}
    assert story.results["unavailable"] == {}
    assert set(story.results["refused"]) <= {"session"}


def test_who_reads_a_bead_that_was_given_up_learns_which_profile_is_wrong(story: Story) -> None:
    name = next(name for name, phase in story.phases.items() if phase == "Failed")
    message = story.town.played.condition(name, "Stalled")["message"]
    assert "its pod was refused, correct the AgentProfile" in message
    assert "RuntimeClass" in message


def test_no_shell_ran_anything(story: Story) -> None:
    assert story.phases
    assert not Path("/tmp/owned").exists()


def test_logs_are_one_object_a_line_and_touch_no_terminal(story: Story) -> None:
    as_json, as_text = story.logs
    for line in as_json.splitlines():
        assert isinstance(json.loads(line), dict)
    assert acting(as_json) == set()
    assert acting(as_text) == set()


# Whoever looks at it


@pytest.fixture
def ada(story: Story, tmp_path: Path) -> CommandLine:
    """A person with a kubeconfig of the town."""
    file = tmp_path / "kubeconfig"
    file.write_bytes(story.town.played.cluster.kubeconfig.read_bytes())
    story.town.played.cluster.kubectl(
        f"--kubeconfig={file}", "config", "set-context", "--current", f"--namespace={story.town.played.namespace}"
    )
    return CommandLine(tmp_path, {"KUBECONFIG": str(file)})


@pytest.mark.parametrize(
    "words",
    [
        ["bd", "list", "--all"],
        ["bd", "list", "--all", "--json"],
        ["bd", "ready"],
        ["gt", "convoy", "list"],
        ["gt", "convoy", "status", "convoy-0"],
        ["gt", "mq", "list", "--all"],
        ["gt", "mq", "list", "--all", "--json"],
        ["gt", "status"],
    ],
    ids=" ".join,
)
def test_a_command_shows_garbage_without_a_terminal_minding(ada: CommandLine, words: list[str]) -> None:
    done = ada.run(words)
    assert (done.returncode, done.stderr) == (0, "")
    assert acting(done.stdout) == set()
    if "--json" in words:
        assert len(json.loads(done.stdout)["items"]) > 30


def test_each_bead_and_each_convoy_is_shown_in_full(ada: CommandLine, story: Story) -> None:
    done = ada.run(["bd", "show", *story.phases])
    assert (done.returncode, done.stderr, acting(done.stdout)) == (0, "", set())
    assert "\\x1b[2J" in done.stdout
    numbers = [
        number for number, name in enumerate(story.town.values) if name in ("terminal escapes", "carriage returns", "text turned round")
    ]
    for number in numbers:
        done = ada.run(["gt", "convoy", "status", f"convoy-{number}"])
        assert (done.returncode, acting(done.stdout)) == (0, set())


@pytest.mark.parametrize("kind", GASTOWN_KINDS, ids=lambda kind: kind.name)
def test_kubectl_prints_columns_without_escapes(story: Story, kind: Kind) -> None:
    played = story.town.played
    shown = played.cluster.kubectl("get", kind.plural, "-n", played.namespace, "-o", "wide").stdout
    assert len(shown.splitlines()) > 1
    # What hides or turns text round is kubectl's own affair; it writes out what acts on a terminal, but not the older half of it.
    assert not [character for character in shown if unicodedata.category(character) == "Cc" and character not in "\t\n"]


@pytest.mark.parametrize(
    "words",
    [
        ["bd", "show", "../../../api/v1/secrets"],
        ["bd", "show", ""],
        ["bd", "show", "gp-1\x1b[2J"],
        ["bd", "show", os.fsdecode(b"\xff")],
        ["bd", "show", "-oProxyCommand=id"],
        ["bd", "close", "x" * 100_000],
        ["bd", "create", "x" * 100_000],
        ["bd", "create", "Title", "--id", "../../x"],
        ["bd", "create", "Title", "--rig", "../x"],
        ["bd", "create", "Title", "--deps", "blocks:\x1b[2J"],
        ["bd", "create", "Title", "--type", "$(id)"],
        ["bd", "list", "--rig", "a,spec.owner!=b"],
        ["gt", "convoy", "status", "x" * 300],
        ["gt", "mq", "list", "--rig", "=\x1b"],
    ],
    ids=lambda words: ascii(" ".join(words))[:40],
)  # fmt: skip
def test_odd_arguments_are_answered_with_an_error_and_no_traceback(ada: CommandLine, words: list[str]) -> None:
    done = ada.run(words)
    assert done.returncode in (0, 1, 2, 3)
    assert done.returncode == 0 or "error" in done.stderr
    assert "Traceback" not in done.stderr
    assert acting(done.stdout + done.stderr) == set()
    assert len(done.stderr) < 10_000


def test_a_description_that_is_no_text_is_taken_as_well_as_it_can_be(ada: CommandLine) -> None:
    done = ada.run(["bd", "create", os.fsdecode(b"Gr\xfc\xdfe"), "-d", "-", "--rig", "greeter"], given="x\udcffy")
    assert done.returncode == 0, done.stderr
    shown = ada.run(["bd", "show", done.stdout.strip()], LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert (shown.returncode, shown.stderr) == (0, "")

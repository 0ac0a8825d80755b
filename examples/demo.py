"""`make demo`: from nothing to a landed convoy, by the commands a user would type.

It only starts the local town, makes the example's repository, applies manifests and watches. Each run takes names of its own
(greeter, greeter-2, ...), so that a second demo neither waits for nor destroys the first.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from gastown.kube.errors import ApiError
from gastown.local.errors import LocalTownError

EXAMPLE = Path(__file__).parent / "01-first-convoy"
BUILD = Path(__file__).parent.parent / "build" / "demo"
LAND_SECONDS = 300
# The example's commits are made at a fixed time, so that the same files always give the same repository.
COMMIT_TIME = "2026-01-01T09:00:00+00:00"


def main() -> None:
    """Run the demo; exit code 0 only when the convoy landed."""
    from gastown.local import town  # here, so that Ctrl-C is heard by `run_to_the_end` during this half second too

    started = time.monotonic()
    say("Gas Town demo: a rig, a convoy of six beads, three polecats, one merge queue. Two beads come back and land at the second attempt.")
    show("gt up")
    up = town.up(report=say)
    os.environ.update(up.environment())
    suffix = claim_suffix(town.upstreams_directory())
    rig, convoy = f"greeter{suffix}", f"first-convoy{suffix}"
    make_upstream(EXAMPLE / "greeter", town.upstreams_directory() / f"{rig}.git")
    for name in ("rig.yaml", "convoy.yaml"):
        run("kubectl", "apply", "-f", str(manifest(name, suffix)))
    landed = follow(convoy)
    say("")
    say(f"main of {rig}, first parents only: each is a tree that passed its gates")
    run("git", "-C", str(town.upstreams_directory() / f"{rig}.git"), "log", "--first-parent", "--oneline", "main")
    tell_reworks(convoy)
    if not landed:
        sys.exit(f"convoy {convoy} did not land; look at: gt convoy status {convoy}, kubectl get beads,agents,mr, and {up.logs}")
    say("")
    say(f"Convoy {convoy} landed {time.monotonic() - started:.0f} s after the command. Try next:")
    say(f"  export KUBECONFIG={up.kubeconfig}; kubectl get beads,agents,convoys,mr")
    say("  .venv/bin/bd create 'Greet in French' --rig " + rig + "   then: kubectl get beads -w")
    say("  .venv/bin/gt down   stops the town and keeps its data")


def claim_suffix(upstreams: Path) -> str:
    """ "" for the first demo in this town, then -2, -3, ...; two demos at once never get the same."""
    listed = subprocess.run(["kubectl", "get", "rigs", "-o", "json"], check=True, capture_output=True, timeout=60)
    taken = {item["metadata"]["name"] for item in json.loads(listed.stdout)["items"]}
    for number in itertools.count(1):
        rig = f"greeter{suffix_of(number)}"
        with contextlib.suppress(FileExistsError):
            if rig not in taken:
                (upstreams / f"{rig}.git").mkdir(parents=True)
                return suffix_of(number)
    raise AssertionError("there is always a next number")


def suffix_of(number: int) -> str:
    """How the names of the n-th demo end."""
    return "" if number == 1 else f"-{number}"


def manifest(name: str, suffix: str) -> Path:
    """The example's file, or a copy of it under other names."""
    if not suffix:
        return EXAMPLE / name
    documents = [renamed(document, suffix) for document in yaml.safe_load_all((EXAMPLE / name).read_text())]
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / f"{Path(name).stem}{suffix}.yaml"
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return path


def renamed(document: dict[str, Any], suffix: str) -> dict[str, Any]:
    """The document for the rig and convoy of a later demo; the profile is shared."""
    spec = document["spec"]
    if document["kind"] == "Rig":
        # Prefixes are letters only: gr, grb, grc, ...
        spec["prefix"] += letters(int(suffix[1:]))
        spec["git"]["upstream"] = spec["git"]["upstream"].replace("greeter.git", f"greeter{suffix}.git")
    if document["kind"] == "Convoy":
        spec["defaults"]["rigName"] += suffix
    if document["kind"] != "AgentProfile":
        document["metadata"]["name"] += suffix
    return document


def letters(number: int) -> str:
    """1 -> a, 2 -> b, ..., 27 -> aa."""
    text = ""
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def make_upstream(project: Path, bare: Path) -> None:
    """Make a bare repository with two commits of history from the example project."""
    with tempfile.TemporaryDirectory(prefix="gastown-demo-") as folder:
        make_history(project, Path(folder))
        if bare.exists() and any(bare.iterdir()):
            shutil.rmtree(bare)
        bare.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "--quiet", "--bare", folder, str(bare)], check=True, timeout=60)


def make_history(project: Path, work: Path) -> None:
    """Make a repository with two commits from the example project, in an empty folder."""
    identity = {
        "GIT_AUTHOR_DATE": COMMIT_TIME,
        "GIT_COMMITTER_DATE": COMMIT_TIME,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    for person in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{person}_NAME": "Ada", f"GIT_{person}_EMAIL": "ada@example.invalid"}
    environment = os.environ | identity

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=work, env=environment, check=True, timeout=60)

    git("init", "--quiet", "--initial-branch=main")
    shutil.copy(project / "README.md", work)
    git("add", "README.md")
    git("commit", "--quiet", "-m", "Say what this is")
    shutil.copytree(project, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    git("add", "--all")
    git("commit", "--quiet", "-m", "Greet plainly")


def follow(convoy: str) -> bool:
    """Show the convoy until it is over; whether it landed."""
    from gastown.local.node.system_calls import die_with_parent

    command = ["gt", "convoy", "status", convoy, "--watch"]
    show(*command)
    try:
        # It must not go on watching when this process is killed.
        return subprocess.run(command, timeout=LAND_SECONDS, preexec_fn=die_with_parent).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def tell_reworks(convoy: str) -> None:
    """One line per bead that came back from the merge queue: which, how often and why the last time."""
    command = ["kubectl", "get", "beads", "-l", f"gastown.dev/convoy={convoy}", "-o", "json"]
    listed = subprocess.run(command, check=True, capture_output=True, timeout=60)
    say("\nbeads that came back, and why (all of it: bd show ID)")
    for bead in json.loads(listed.stdout)["items"]:
        rework = bead.get("status", {}).get("lastRework")
        if rework:
            name = bead["metadata"].get("annotations", {}).get("gastown.dev/local-name", "")
            say(f"{bead['metadata']['name']} {name}: {rework['reason']}: {rework.get('message', '').partition(';')[0]}")


def run(*command: str) -> None:
    """Show a command, then run it."""
    show(*command)
    subprocess.run(command, check=True, timeout=120)


def show(*command: str) -> None:
    """Print a command as it would be typed."""
    shown = " ".join(part.removeprefix(f"{Path.cwd()}/") for part in command)
    say(f"\n$ {shown}")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def run_to_the_end() -> int:
    """Run the demo, and end with a sentence whatever stops it; the exit code."""
    # A closed terminal and `kill` are told like Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        return end(130, "stopped. What runs of the town goes on in the background: make demo goes on with it, make down ends it")
    except subprocess.SubprocessError as error:
        return end(1, f"error: {error}; see what it said above, then try again. gt status tells what runs of the town")
    except (LocalTownError, ApiError) as error:
        return end(1, f"error: {error}")
    return 0


def end(code: int, sentence: str) -> int:
    """Say why it ends before its end."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"\n{sentence}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(run_to_the_end())

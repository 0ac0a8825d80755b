"""`make demo`: from nothing to a landed convoy, by the commands a user would type.

It only starts the local town, makes the example's repository, applies manifests and watches. Each run takes names of its own
(greeter, greeter-2, ...), so that a second demo neither waits for nor destroys the first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from gastown.local import town

EXAMPLE = Path(__file__).parent / "01-first-convoy"
BUILD = Path(__file__).parent.parent / "build" / "demo"
LAND_SECONDS = 300
# The example's commits are made at a fixed time, so that the same files always give the same repository.
COMMIT_TIME = "2026-01-01T09:00:00+00:00"


def main() -> None:
    """Run the demo; exit code 0 only when the convoy landed."""
    started = time.monotonic()
    say("Gas Town demo: a rig, a convoy of four beads, two polecats, one merge queue.")
    show("gt up")
    up = town.up(report=say)
    os.environ.update(up.environment())
    suffix = free_suffix()
    rig, convoy = f"greeter{suffix}", f"first-convoy{suffix}"
    make_upstream(EXAMPLE / "greeter", town.upstreams_directory() / f"{rig}.git")
    for name in ("rig.yaml", "convoy.yaml"):
        run("kubectl", "apply", "-f", str(manifest(name, suffix)))
    landed = follow(convoy)
    say("")
    say(f"main of {rig}, first parents only: each is a tree that passed its gates")
    run("git", "-C", str(town.upstreams_directory() / f"{rig}.git"), "log", "--first-parent", "--oneline", "main")
    if not landed:
        sys.exit(f"convoy {convoy} did not land; look at: gt convoy status {convoy}, kubectl get beads,agents,mr, and {up.logs}")
    say("")
    say(f"Convoy {convoy} landed {time.monotonic() - started:.0f} s after the command. Try next:")
    say(f"  export KUBECONFIG={up.kubeconfig}; kubectl get beads,agents,convoys,mr")
    say("  .venv/bin/bd create 'Greet in French' --rig " + rig + "   then: kubectl get beads -w")
    say("  .venv/bin/gt down   stops the town and keeps its data")


def free_suffix() -> str:
    """ "" for the first demo in this town, then -2, -3, ..."""
    listed = subprocess.run(["kubectl", "get", "rigs", "-o", "json"], check=True, capture_output=True, timeout=60)
    taken = {item["metadata"]["name"] for item in json.loads(listed.stdout)["items"]}
    number = 1
    while f"greeter{suffix_of(number)}" in taken:
        number += 1
    return suffix_of(number)


def suffix_of(number: int) -> str:
    """How the names of the n-th demo end."""
    return "" if number == 1 else f"-{number}"


def manifest(name: str, suffix: str) -> Path:
    """The example's file, or a copy of it under other names."""
    if not suffix:
        return EXAMPLE / name
    documents = [renamed(document, suffix) for document in yaml.safe_load_all((EXAMPLE / name).read_text())]
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / name
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
    if bare.exists():
        shutil.rmtree(bare)
    work = BUILD / "checkout"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
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
    bare.parent.mkdir(parents=True, exist_ok=True)
    git("clone", "--quiet", "--bare", ".", str(bare))


def follow(convoy: str) -> bool:
    """Show the convoy until it is over; whether it landed."""
    command = ["gt", "convoy", "status", convoy, "--watch"]
    show(*command)
    try:
        return subprocess.run(command, timeout=LAND_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


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


if __name__ == "__main__":
    main()

"""Answer git's question for user and password with a token of the cluster; nothing is stored.

In a pod it is the projected token. Elsewhere it is the kubeconfig's token, or, where the kubeconfig has a client certificate (or an
agent is named), a fresh token of that agent's ServiceAccount with the repositories as its only audience.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from gastown.api.kinds import SERVICE_ACCOUNT
from gastown.api.labels import REPOSITORY_AUDIENCE
from gastown.cli import output
from gastown.cli.errors import USAGE, CommandError, about
from gastown.cli.place import Place, add_place_arguments, find_place

EXAMPLE = """\
git config --global credential.http://127.0.0.1:8080.helper '!gt credential --agent greeter-crew-ada'
echo url=http://127.0.0.1:8080/town/greeter.git | gt credential get
"""
TOKEN_SECONDS = 3600
_TOKEN_FILE = "GASTOWN_REPO_TOKEN_FILE"  # noqa: S105 - the name of a variable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What git passes."""
    parser.add_argument("operation", choices=("get", "store", "erase"), help="by git; store and erase do nothing")
    add_place_arguments(parser, agent=True)


def run(options: argparse.Namespace) -> int:
    """Answer on standard output."""
    if options.operation != "get":
        return 0
    asked = dict(line.split("=", 1) for line in sys.stdin.read().splitlines() if "=" in line)
    place = find_place(options)
    if not _is_ours(asked, place):
        return 0  # another server's password is none of our business; git asks on
    user, token = _credential(place)
    if options.json:
        output.print_json({"kind": "Credential", "username": user, "password": token})
    else:
        print(f"username={user}\npassword={token}")
    return 0


def _is_ours(asked: dict[str, str], place: Place) -> bool:
    """Whether git asks for the server that the worktree names; where nothing names one, git's configuration chose us."""
    if not place.repository or not asked.get("host"):
        return True
    server = urlsplit(place.repository)
    return (asked.get("protocol", ""), asked["host"]) == (server.scheme, server.netloc.rpartition("@")[2])


def _credential(place: Place) -> tuple[str, str]:
    if place.in_pod:
        return place.agent or "agent", _projected_token()
    token = place.configuration.bearer_token()
    if token and not place.agent:
        return "user", token
    if not place.agent:
        remedy = "pass --agent with the name of your crew agent, or set git config gastown.agent"
        raise CommandError(
            "credential", "the kubeconfig has no token, and no agent is named", remedy=remedy, exit_code=USAGE, reason="NoAgent"
        )
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [REPOSITORY_AUDIENCE], "expirationSeconds": TOKEN_SECONDS},
    }
    remedy = "name an agent whose ServiceAccount exists, see `kubectl get agents`"
    with place.connect("gt") as client, about(f"ServiceAccount {place.agent} in namespace {place.namespace}", remedy=remedy):
        answer = client.create(SERVICE_ACCOUNT, body, namespace=place.namespace, subresource="token", name=place.agent)
    return place.agent, str(answer["status"]["token"])


def _projected_token() -> str:
    file = os.environ.get(_TOKEN_FILE, "")
    try:
        return Path(file).read_text(encoding="ascii").strip()
    except OSError as error:
        raise CommandError(
            f"repository token {file or '($GASTOWN_REPO_TOKEN_FILE is not set)'}", str(error.strerror), remedy="is the volume mounted?"
        ) from error

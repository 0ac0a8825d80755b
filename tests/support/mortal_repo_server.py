"""A real repo-server as a mortal process: its steps are the pieces it takes from a client and sends to one, and what it does with refs.

git itself has steps too, told by hooks that the test installs for this one process: the hook kills the server, alone or with all git
processes it has started, as when their container ends.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

from gastown_git import stale_locks
from gastown_git.server import push, requests
from gastown_git.server.app import ServerSettings, create_app, create_runner
from support.git_server import FURIOSA, NOW, TREE_KEY, TokenList
from support.mortal import DEATHS, Doom, Fate, Life, replace

HOOKS = ("pre-receive", "reference-transaction", "post-receive")
# Later pieces of a body are like the second.
PIECES = 2
_HOOK = """#!/bin/sh
what="hook $(basename "$0") $1"
[ "$(grep -c -x "before $what" '{deaths}')" -ge {times} ] && exit 0
echo "before $what" >> '{deaths}'
kill -9 "$(cat '{pid}')"
{also}
exit 0
"""


def repo_server_life(folder: Path, doom: Doom, data: Path, port: int, namespace: str = "town") -> Life:
    """A server that is not started yet; `arm_hooks` first.

    Args:
        data: Folder of its repositories.
        port: The same for each life: clients come again.
        namespace: Town of the one agent it knows, greeter-furiosa, whose token is furiosa.
    """
    return Life(folder, doom, live, folder, data, port, namespace)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def arm_hooks(folder: Path, times: int, *, with_children: bool) -> None:
    """Have git kill the lives of this folder at each of its steps in a push.

    Args:
        times: How often at each.
        with_children: Kill also the git processes of the request; else they find out by themselves.
    """
    hooks = folder / "hooks"
    hooks.mkdir(parents=True)
    (folder / DEATHS).touch()
    words = {"deaths": folder / DEATHS, "times": times, "pid": folder / "pid", "also": "kill -9 0" if with_children else ""}
    for name in HOOKS:
        (hooks / name).write_text(_HOOK.format(**words))
        (hooks / name).chmod(0o755)


def live(fate: Fate, folder: Path, data: Path, port: int, namespace: str) -> None:
    """What the child does."""
    (folder / "pid").write_text(str(os.getpid()))
    stale_locks.ABANDONED_SECONDS = 0.5
    _tell_requests(fate)
    _tell_refs(fate)
    _use_hooks(folder / "hooks")
    asyncio.run(_serve(data, port, namespace))


async def _serve(data: Path, port: int, namespace: str) -> None:
    tokens = TokenList({"furiosa": dataclasses.replace(FURIOSA, namespace=namespace)})
    runner = create_runner(create_app(ServerSettings(data, TREE_KEY), tokens, clock=lambda: NOW))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def _tell_requests(fate: Fate) -> None:
    """A step per piece of a push's body, and per piece of any answer."""
    sent: Counter[int] = Counter()
    body, write = push.Push.body, web.StreamResponse.write

    async def stepping_body(self: push.Push) -> AsyncIterator[bytes]:
        number = 0
        async for piece in body(self):
            number += 1
            if number <= PIECES:
                with fate.step(f"body {number}"):
                    pass
            yield piece

    async def stepping_write(self: web.StreamResponse, data: Any) -> None:
        sent[id(self)] += 1
        if sent[id(self)] > PIECES:
            await write(self, data)
            return
        with fate.step(f"answer {self.content_type} {sent[id(self)]}"):
            await write(self, data)

    push.Push.body = stepping_body  # type: ignore[method-assign]
    web.StreamResponse.write = stepping_write  # type: ignore[method-assign]


def _tell_refs(fate: Fate) -> None:
    for name in ("keep_old_tips", "release_contained_tips"):
        function = getattr(push, name)

        def stepping(*arguments: Any, name: str = name, function: Any = function) -> Any:
            with fate.step(name):
                return function(*arguments)

        setattr(push, name, stepping)


def _use_hooks(hooks: Path) -> None:
    """For pushes of this process; repositories are set to run none."""
    environment = requests.backend_environment

    @functools.wraps(environment)
    def with_hooks(*arguments: Any, configuration: Any = (), **named: Any) -> dict[str, str]:
        return environment(*arguments, configuration=[*configuration, ("core.hooksPath", str(hooks))], **named)

    replace(push, "backend_environment", with_hooks)

"""A real repo-server on loopback, and a real git as its client."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from gastown_git.git_process import git_environment
from gastown_git.layout import repository_path
from gastown_git.repository import Repository
from gastown_git.server.access import Identity
from gastown_git.server.app import ServerSettings, create_app, create_runner
from support import git_builder

TREE_KEY = b"k" * 32
NOW = 1_800_000_000.0

FURIOSA = Identity("agent", "greeter/polecats/furiosa", "town", "greeter-furiosa", "greeter")
NUX = Identity("agent", "greeter/polecats/nux", "town", "greeter-nux", "greeter")
STRANGER = Identity("agent", "other/polecats/slit", "elsewhere", "other-slit", "other")
JOE = Identity("person", "joe")


@dataclass
class TokenList:
    """The authenticator of these tests: tokens by hand."""

    identities: dict[str, Identity] = field(default_factory=lambda: {"furiosa": FURIOSA, "nux": NUX, "stranger": STRANGER, "joe": JOE})
    broken: bool = False

    async def authenticate(self, token: str) -> Identity | None:
        """Look the token up."""
        if self.broken:
            raise ConnectionError("API server is not there")
        return self.identities.get(token)

    async def may_read(self, identity: Identity, namespace: str, rig: str) -> bool:
        """Agents read the rigs of their town, people all."""
        return identity.kind == "person" or (identity.namespace, identity.rig) == (namespace, rig)


@dataclass
class Server:
    """A running server.

    Attributes:
        rig: Repository of rig `greeter` in `town`.
        counters: Its metrics, read over HTTP by tests that care.
    """

    port: int
    data: Path
    authenticator: TokenList
    rig: Repository

    def url(self, token: str | None = FURIOSA.agent.partition("-")[2], repository: str = "town/greeter.git") -> str:
        """Address of a repository, with the token as password."""
        who = "" if token is None else f"x:{token}@"
        return f"http://{who}127.0.0.1:{self.port}/{repository}"

    def children(self) -> list[int]:
        """Processes that git runs for this server, found by its data folder in their environment."""
        mark = f"GIT_PROJECT_ROOT={self.data}".encode()
        return [
            pid for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()) if mark in _environment_of(pid)
        ]


@contextmanager
def running(data: Path, **settings: object) -> Iterator[Server]:
    """Run a server in a thread with a loop of its own, until the block ends."""
    rig = git_builder.repository(repository_path(data, "town", "greeter"))
    authenticator = TokenList()
    loop = asyncio.new_event_loop()
    app = create_app(ServerSettings(data, TREE_KEY, **settings), authenticator, clock=lambda: NOW)  # type: ignore[arg-type]
    runner = create_runner(app, shutdown_seconds=1)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address: tuple[str, int] = runner.addresses[0]
        return address[1]

    thread = threading.Thread(target=loop.run_forever, name="repo-server")
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(start(), loop).result(timeout=20)
        yield Server(port, data, authenticator, rig)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


@dataclass
class Answer:
    """What a git client said."""

    exit_code: int
    output: str
    error: str


class Client:
    """A clone in a folder of its own, driven by the git program."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.run("clone", "--quiet", url, str(folder), cwd=folder.parent)

    def run(self, *arguments: str, ok: bool = True, cwd: Path | None = None, configuration: tuple[tuple[str, str], ...] = ()) -> Answer:
        """Run git; with ok, a failure is an error of the test."""
        identity = (("user.name", "furiosa"), ("user.email", "furiosa@test.invalid"), ("init.defaultBranch", "main"))
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.folder,
            env=git_environment((*identity, *configuration)),
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0 or not ok, f"git {arguments}: {done.stderr}"
        return Answer(done.returncode, done.stdout.strip(), done.stderr)

    def commit(self, path: str, content: str | bytes, message: str = "Change") -> str:
        """Commit one file; gives the commit."""
        (self.folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
        self.run("add", path)
        self.run("commit", "--quiet", "-m", message)
        return self.run("rev-parse", "HEAD").output


def _environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""

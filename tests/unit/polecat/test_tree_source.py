"""Getting a gate's source: hostile archives, limits, retries, and the proof of the tree id."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gastown.polecat import tree_source
from gastown.polecat.tree_source import Limits, TreeSourceError, UnsafeArchive, WrongTree, fetch_tree, tree_id, unpack

HELLO_TREE = "b4d01e9b0c4a9356736dfddf8830ba9a54f5271c"
"""Tree with one file `hello` holding `hello` and a newline, as `git write-tree` says."""

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def member(
    name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size, entry.mode = kind, link, len(content), mode
    return entry, content


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for entry, content in members:
            opened.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


HELLO = archive(member("hello", b"hello\n"))
TWO = archive(member("hello", b"hello\n"), member("world", b"world\n"))


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[str]:
    """A server on loopback; the callable answers and is told the number of the request, from 1."""
    with listening(0, handler_of(answer)) as port:
        yield f"http://127.0.0.1:{port}/town/greeter.git/tree/{HELLO_TREE}.tar?exp=1&sig=secret"


def handler_of(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> type[BaseHTTPRequestHandler]:
    """A handler whose callable is told the number of the request."""
    requests = iter(range(1, 1000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, next(requests))

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the library's
            pass

    return Handler


@contextmanager
def listening(port: int, handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A server on loopback; its port."""
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def send(request: BaseHTTPRequestHandler, status: int, body: bytes, *, claimed_length: int | None = None) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body) if claimed_length is None else claimed_length))
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_source, "_FIRST_PAUSE_SECONDS", 0.01)


def test_the_source_lies_in_the_folder_when_it_is_the_tree_asked_for(tmp_path: Path) -> None:
    with serving(lambda request, _: send(request, 200, HELLO)) as url:
        fetch_tree(url, HELLO_TREE, tmp_path / "source", 20)
    assert (tmp_path / "source" / "hello").read_bytes() == b"hello\n"
    assert tree_id(tmp_path / "source") == HELLO_TREE


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda request: send(request, 503, b"busy"), id="server busy"),
        pytest.param(lambda request: send(request, 200, TWO[:600], claimed_length=len(TWO)), id="connection lost inside a file"),
        pytest.param(lambda request: send(request, 200, TWO[:1024], claimed_length=len(TWO)), id="connection lost between files"),
        pytest.param(lambda request: request.connection.close(), id="connection reset"),
    ],
)
def test_a_transient_failure_is_tried_again_from_nothing(tmp_path: Path, bad: Callable[[BaseHTTPRequestHandler], None]) -> None:
    tree = tree_id(tmp_path / "two", unpack(io.BytesIO(TWO), tmp_path / "two", Limits()))
    with serving(lambda request, number: bad(request) if number < 3 else send(request, 200, TWO)) as url:
        fetch_tree(url, tree, tmp_path / "source", 20)
    assert (tmp_path / "source" / "world").exists()


def test_an_expired_link_is_refused_at_once_with_the_servers_words_and_without_the_signature(tmp_path: Path) -> None:
    asked = []

    def refuse(request: BaseHTTPRequestHandler, number: int) -> None:
        asked.append(number)
        send(request, 403, b"link has expired")

    with serving(refuse) as url, pytest.raises(TreeSourceError, match="403: link has expired") as caught:
        fetch_tree(url, HELLO_TREE, tmp_path / "source", 20)
    assert asked == [1]
    assert "secret" not in str(caught.value)


def test_another_tree_than_the_one_asked_for_is_removed_and_refused(tmp_path: Path) -> None:
    other = archive(member("hello", b"goodbye\n"))
    with serving(lambda request, _: send(request, 200, other)) as url, pytest.raises(WrongTree, match=HELLO_TREE):
        fetch_tree(url, HELLO_TREE, tmp_path / "source", 20)
    assert not (tmp_path / "source").exists()


def test_a_server_that_never_recovers_ends_in_an_error_after_a_few_attempts(tmp_path: Path) -> None:
    with serving(lambda request, _: send(request, 500, b"")) as url, pytest.raises(TreeSourceError, match="gave up after 5 attempts"):
        fetch_tree(url, HELLO_TREE, tmp_path / "source", 20)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, on_sleep: Callable[[float], None]) -> None:
        self.now = 0.0
        self._on_sleep = on_sleep

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._on_sleep(self.now)


def test_a_server_that_is_started_again_meanwhile_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with ExitStack() as stack:
        handler = handler_of(lambda request, _: send(request, 200, HELLO))

        def start_late(now: float) -> None:
            if now > 60 and not started:
                started.append(stack.enter_context(listening(port, handler)))

        started: list[int] = []
        monkeypatch.setattr(tree_source, "time", Clock(start_late))
        fetch_tree(f"http://127.0.0.1:{port}/tree.tar", HELLO_TREE, tmp_path / "source", 300)
    assert (tmp_path / "source" / "hello").exists()


def test_a_server_that_stays_away_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    clock = Clock(lambda _: None)
    monkeypatch.setattr(tree_source, "time", clock)
    with pytest.raises(TreeSourceError, match="gave up after"):
        fetch_tree(f"http://127.0.0.1:{port}/tree.tar", HELLO_TREE, tmp_path / "source", 300)
    assert 120 < clock.now < 130


def test_a_download_that_trickles_ends_at_the_deadline(tmp_path: Path) -> None:
    stop = threading.Event()

    def trickle(request: BaseHTTPRequestHandler, number: int) -> None:
        request.send_response(200)
        request.end_headers()
        while not stop.wait(0.02):
            request.wfile.write(HELLO[:1])

    with serving(trickle) as url:
        try:
            with pytest.raises(TreeSourceError):
                fetch_tree(url, HELLO_TREE, tmp_path / "source", 0.3)
        finally:
            stop.set()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host.invalid/x", "/etc/passwd", ""])
def test_only_web_links_are_followed(tmp_path: Path, url: str) -> None:
    with pytest.raises(TreeSourceError, match="no http or https link"):
        fetch_tree(url, HELLO_TREE, tmp_path / "source", 5)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(TreeSourceError, match="not empty"):
        fetch_tree("http://127.0.0.1:1/", HELLO_TREE, tmp_path, 5)
    assert (tmp_path / "mine").exists()


_FOLDER = member("d", kind=tarfile.DIRTYPE)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([member("/nosuch-folder/evil")], id="absolute path"),
        pytest.param([member("../evil")], id="path out of the folder"),
        pytest.param([_FOLDER, member("d/../../evil")], id="path out through dots inside"),
        pytest.param([_FOLDER, member("d/./x")], id="a dot as a name"),
        pytest.param([_FOLDER, member("d//x")], id="an empty name"),
        pytest.param([member("..", kind=tarfile.DIRTYPE)], id="the folder above"),
        pytest.param([member("nosuch/x")], id="a file before its folder"),
        pytest.param([member("l", kind=tarfile.SYMTYPE, link="/tmp"), member("l/x")], id="a file below a link"),
        pytest.param([member("f"), member("f/x")], id="a file below a file"),
        pytest.param([_FOLDER, member("d", kind=tarfile.SYMTYPE, link="/tmp")], id="a folder replaced by a link"),
        pytest.param([member("l", kind=tarfile.SYMTYPE, link="/tmp"), member("l", b"x")], id="a link written through"),
        pytest.param([member("x"), member("x")], id="the same file twice"),
        pytest.param([member("x"), member("h", kind=tarfile.LNKTYPE, link="x")], id="a hard link"),
        pytest.param([member("p", kind=tarfile.FIFOTYPE)], id="a pipe"),
        pytest.param([member("c", kind=tarfile.CHRTYPE)], id="a device"),
        pytest.param([member("s", kind=tarfile.GNUTYPE_SPARSE)], id="a sparse file"),
        pytest.param([member(".git", kind=tarfile.DIRTYPE)], id="a git folder"),
        pytest.param([_FOLDER, member("d/.GIT", kind=tarfile.DIRTYPE)], id="a git folder in capitals"),
        pytest.param([member("l", kind=tarfile.SYMTYPE, link="")], id="a link to nothing"),
        pytest.param([member("n" * 5000)], id="a path too long"),
        pytest.param([member("/".join("d" * depth), kind=tarfile.DIRTYPE) for depth in range(1, 300)], id="folders in each other"),
    ],
)
def test_an_archive_that_no_git_tree_can_make_is_refused_and_nothing_is_written_outside(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    target = tmp_path / "inside" / "source"
    with pytest.raises((UnsafeArchive, tarfile.TarError)):
        unpack(io.BytesIO(archive(*members)), target, Limits())
    assert [entry.name for entry in (tmp_path / "inside").iterdir()] == ["source"]


def test_limits_hold_for_entries_bytes_and_claims_of_size(tmp_path: Path) -> None:
    many = archive(*(member(str(number)) for number in range(5)))
    with pytest.raises(UnsafeArchive, match="more than 3 entries"):
        unpack(io.BytesIO(many), tmp_path / "many", Limits(entries=3))
    large = archive(member("large", b"x" * 100_000))
    with pytest.raises(UnsafeArchive, match="larger than its limit"):
        unpack(io.BytesIO(large), tmp_path / "large", Limits(total_bytes=50_000))
    claim = tarfile.TarInfo("claim")
    claim.size = 1 << 40
    with pytest.raises((UnsafeArchive, tarfile.TarError)):
        unpack(io.BytesIO(claim.tobuf() + b"\0" * 2048), tmp_path / "claim", Limits())


def test_a_header_that_asks_for_endless_memory_is_stopped_by_the_limit(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 1 << 33
    endless = _Zeros(header.tobuf())
    with pytest.raises((UnsafeArchive, tarfile.TarError)):
        unpack(endless, tmp_path / "source", Limits(total_bytes=1 << 20))


def test_the_tree_id_is_gits_own_for_folders_that_sort_oddly(tmp_path: Path) -> None:
    for name in ("x/y", "x-d", "x.d", "x0"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    assert tree_id(tmp_path) == "5a271258b4690ccd7549d60653283551992b2c02"


def test_an_empty_folder_is_the_empty_tree(tmp_path: Path) -> None:
    assert tree_id(tmp_path) == EMPTY_TREE


class _Zeros:
    """A stream of some bytes, then zeros for ever."""

    def __init__(self, first: bytes) -> None:
        self._first = first

    def read(self, size: int, /) -> bytes:
        content, self._first = self._first[:size], self._first[size:]
        return content.ljust(size, b"\0")

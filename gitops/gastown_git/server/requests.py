"""What the app reads out of a request: token, body, and the environment for git http-backend."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from aiohttp import web

from gastown_git.git_process import git_environment
from gastown_git.server.backend import CHUNK_BYTES

MAX_TOKEN_CHARACTERS = 16 * 1024

_GZIP = 16 + zlib.MAX_WBITS


def find_token(request: web.Request) -> str | None:
    """Find the token: `Bearer <token>`, or the password of `Basic`, as git's credential helpers send it."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    value = value.strip()
    if len(value) > MAX_TOKEN_CHARACTERS:
        return None
    if scheme.lower() == "bearer":
        return value or None
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return decoded.partition(":")[2] or None


def is_gzipped(request: web.Request) -> bool:
    """Tell whether the body is compressed; git does that with large negotiations."""
    return request.headers.get("Content-Encoding", "").lower() in {"gzip", "x-gzip"}


async def raw_body(request: web.Request) -> AsyncIterator[bytes]:
    """Read the body as it came (the app runs with auto_decompress off)."""
    async for chunk in request.content.iter_chunked(CHUNK_BYTES):
        yield chunk


async def plain_body(request: web.Request) -> AsyncIterator[bytes]:
    """Read the body, decompressed if need be, piece by piece.

    Raises:
        zlib.error: The body is not what its header says.
    """
    if not is_gzipped(request):
        async for chunk in raw_body(request):
            yield chunk
        return
    inflate = zlib.decompressobj(_GZIP)
    async for chunk in raw_body(request):
        compressed = chunk
        while compressed:
            yield inflate.decompress(compressed, CHUNK_BYTES)
            compressed = inflate.unconsumed_tail
    yield inflate.flush()


def backend_environment(
    request: web.Request,
    repository: Path,
    service_path: str,
    *,
    actor: str,
    configuration: Sequence[tuple[str, str]] = (),
    body_is_plain: bool = False,
) -> dict[str, str]:
    """Build the CGI environment.

    Args:
        request: To answer.
        repository: Folder of the bare repository; no part of it comes from the client unchecked.
        service_path: `info/refs` or the name of a service.
        actor: Who asks; git writes it into reflogs.
        configuration: Settings for this request, as (key, value), behind those of the repository.
        body_is_plain: The body given to git is decompressed already.
    """
    extra = {
        "GIT_PROJECT_ROOT": str(repository.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{repository.name}/{service_path}",
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.query_string,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "REMOTE_USER": actor,
        "REMOTE_ADDR": request.remote or "",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    if is_gzipped(request) and not body_is_plain:
        extra["HTTP_CONTENT_ENCODING"] = "gzip"
    return git_environment([("safe.directory", str(repository)), *configuration], extra)

"""Where the API server is and who we are there: from inside a pod, or from a simple kubeconfig.

Standard library only (yaml is imported by `from_kubeconfig` alone). Kubeconfigs with exec plugins or auth providers are left to the
official client in `cli`.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SERVICEACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
# The process node, and tests, may mount the ServiceAccount elsewhere.
SERVICEACCOUNT_VARIABLE = "GASTOWN_SERVICEACCOUNT_DIR"


class ConfigurationError(Exception):
    """No usable way to the API server; the message says what is missing and what to do."""


@dataclass(slots=True)
class TokenFile:
    """A token that rotates under us: read again whenever the file changed.

    Projected volumes swap a symlink, so a stat per request (2 us) sees it; no clock, no stale minute after a rotation.
    """

    path: str
    _seen: tuple[int, int] = field(default=(0, 0), init=False, repr=False, compare=False)
    _token: str = field(default="", init=False, repr=False, compare=False)

    def read(self) -> str:
        """The token as it is now.

        Raises:
            ConfigurationError: The file can not be read.
        """
        try:
            state = os.stat(self.path)  # noqa: PTH116 - pathlib costs the CLIs 3 ms and this runs per request
            if (state.st_mtime_ns, state.st_ino) != self._seen:
                with open(self.path, encoding="ascii") as file:  # noqa: PTH123
                    self._token = file.read().strip()
                self._seen = (state.st_mtime_ns, state.st_ino)
        except OSError as error:
            raise ConfigurationError(f"ServiceAccount token {self.path}: {error.strerror}; is the token volume mounted?") from error
        return self._token


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A server and an identity.

    Attributes:
        server: Such as https://127.0.0.1:6443, without a path.
        namespace: The default namespace of this identity; "" if none is told.
        authority_file, authority_data: Certificate authority, as file or as PEM text; both empty means the system's.
        token, token_file: A fixed bearer token, or a file that is read again as it rotates.
        certificate_file, key_file: Client certificate.
        certificate_data, key_data: The same as PEM text.
    """

    server: str
    namespace: str = ""
    authority_file: str = ""
    authority_data: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_file: TokenFile | None = None
    certificate_file: str = ""
    key_file: str = ""
    certificate_data: str = field(default="", repr=False)
    key_data: str = field(default="", repr=False)

    def bearer_token(self) -> str:
        """The token to send now; "" when a client certificate speaks for us."""
        return self.token_file.read() if self.token_file is not None else self.token

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS side, or None for plain http (tests)."""
        if self.server.startswith("http://"):
            return None
        context = ssl.create_default_context(cafile=self.authority_file or None, cadata=self.authority_data or None)
        if self.certificate_file:
            context.load_cert_chain(self.certificate_file, self.key_file or None)
        elif self.certificate_data:
            _load_certificate(context, self.certificate_data, self.key_data)
        return context


def in_cluster(environment: Mapping[str, str] = os.environ) -> Configuration:
    """The identity of the pod we run in.

    Raises:
        ConfigurationError: Not in a pod, or its ServiceAccount is not mounted.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigurationError("KUBERNETES_SERVICE_HOST is not set: this is not a pod; pass a kubeconfig instead")
    folder = environment.get(SERVICEACCOUNT_VARIABLE, "") or SERVICEACCOUNT_FOLDER
    token_file = TokenFile(f"{folder}/token")
    token_file.read()
    return Configuration(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=_read_or_empty(f"{folder}/namespace"),
        authority_file=f"{folder}/ca.crt",
        token_file=token_file,
    )


def is_in_cluster(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `in_cluster` has a chance: a pod's environment and a ServiceAccount token."""
    folder = environment.get(SERVICEACCOUNT_VARIABLE, "") or SERVICEACCOUNT_FOLDER
    return bool(environment.get("KUBERNETES_SERVICE_HOST")) and os.path.exists(f"{folder}/token")  # noqa: PTH110 - see TokenFile.read


def from_kubeconfig(path: str | os.PathLike[str], context: str = "") -> Configuration:
    """One context of a kubeconfig that holds a client certificate or a token.

    Args:
        path: Of the file, YAML or JSON; file names in it are relative to it.
        context: "" means its current-context.

    Raises:
        ConfigurationError: Not readable, the context is missing, or it needs a plugin.
    """
    from pathlib import Path

    import yaml

    file = Path(path)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"kubeconfig {file}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"kubeconfig {file}: not a mapping; is it a kubeconfig?")
    chosen = _named(content, "contexts", context or str(content.get("current-context") or ""), file).get("context") or {}
    cluster = _named(content, "clusters", str(chosen.get("cluster") or ""), file).get("cluster") or {}
    user = _named(content, "users", str(chosen.get("user") or ""), file).get("user") or {}
    if plugin := next((name for name in ("exec", "auth-provider") if user.get(name)), ""):
        raise ConfigurationError(f"kubeconfig {file}: user {chosen.get('user')} needs {plugin}, which this client does not run")
    return Configuration(
        server=str(cluster.get("server") or "").rstrip("/"),
        namespace=str(chosen.get("namespace") or ""),
        authority_file=_beside(file, cluster.get("certificate-authority")),
        authority_data=_decoded(cluster.get("certificate-authority-data")),
        token=str(user.get("token") or ""),
        token_file=TokenFile(_beside(file, user.get("tokenFile"))) if user.get("tokenFile") else None,
        certificate_file=_beside(file, user.get("client-certificate")),
        key_file=_beside(file, user.get("client-key")),
        certificate_data=_decoded(user.get("client-certificate-data")),
        key_data=_decoded(user.get("client-key-data")),
    )


def _named(content: dict[str, Any], section: str, name: str, file: Path) -> dict[str, Any]:
    for entry in content.get(section) or []:
        if entry.get("name") == name:
            return dict(entry)
    known = ", ".join(str(entry.get("name")) for entry in content.get(section) or []) or "none"
    raise ConfigurationError(f"kubeconfig {file}: {section} has no {name or '(empty name)'}; known: {known}")


def _beside(file: Path, name: str | None) -> str:
    return str(file.parent / name) if name else ""


def _decoded(data: str | None) -> str:
    import base64

    return base64.b64decode(data).decode() if data else ""


def _read_or_empty(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - see TokenFile.read
            return file.read().strip()
    except OSError:
        return ""


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    import tempfile

    # The ssl module reads certificates from files only; the key must not stay behind in one.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        context.load_cert_chain(file.name)

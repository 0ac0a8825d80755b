"""The command lines of etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback, as an ordinary user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gastown.local.binaries import Programs
from gastown.local.certificates import Certificates
from gastown.local.child_processes import Command
from gastown.local.town_directory import TownDirectory

ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER = "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"
# Nothing routes these addresses here; the API server wants a range all the same.
SERVICE_RANGE, SERVICE_ADDRESS = "10.96.0.0/16", "10.96.0.1"
# In every token of the town, so it must not change over restarts, as the port may.
_ISSUER = "https://kubernetes.default.svc.cluster.local"

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  # Which phase was written: benchmarks count from there.
  - level: Request
    resources: [{group: gastown.dev, resources: [beads/status]}]
  - level: Metadata
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a control plane differs from the one that `gt up` starts.

    Attributes:
        durable: False: etcd does not wait for the disk. For tests; a power cut may lose the town.
        controllers: False: etcd and kube-apiserver only. No ServiceAccount, garbage collection or scheduling happens by itself.
        audit: Write one line per request to logs/audit.log.
        default_namespace: Of the administrator's kubeconfig.
    """

    durable: bool = True
    controllers: bool = True
    audit: bool = False
    default_namespace: str = "default"


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the command lines depend on."""

    directory: TownDirectory
    programs: Programs
    certificates: Certificates
    ports: Mapping[str, int]
    options: Options

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://127.0.0.1:{self.ports[API_SERVER]}"

    @property
    def etcd(self) -> str:
        """URL of etcd."""
        return f"https://127.0.0.1:{self.ports[ETCD]}"

    @property
    def audit_policy(self) -> Path:
        """Where the audit policy is written to."""
        return self.directory.configuration / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        """One JSON line per request, when auditing is on."""
        return self.directory.logs / "audit.log"


def etcd(settings: Settings) -> Command:
    """One member that answers only to its own authority's certificates: on plain loopback any local user could read Secrets."""
    server, authority = settings.certificates.pair("etcd-server"), settings.certificates.etcd_authority
    # A single member has no peers, but etcd listens for them; with port 0 the kernel picks one that nobody needs to know.
    peers = "https://127.0.0.1:0"
    flags = {
        "name": "gastown",
        "data-dir": settings.directory.etcd_data,
        "listen-client-urls": settings.etcd,
        "advertise-client-urls": settings.etcd,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"gastown={peers}",
        "client-cert-auth": "true",
        "trusted-ca-file": authority.certificate,
        "cert-file": server.certificate,
        "key-file": server.key,
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": authority.certificate,
        "peer-cert-file": server.certificate,
        "peer-key-file": server.key,
        "quota-backend-bytes": 8 * 1024**3,
        "log-level": "warn",
    }
    if not settings.options.durable:
        flags["unsafe-no-fsync"] = "true"
    return _command(settings.programs.etcd, flags)


def api_server(settings: Settings) -> Command:
    """Node and RBAC authorization; nobody is let in without a certificate or token."""
    certificates = settings.certificates
    etcd_client, server, kubelet_client = (certificates.pair(name) for name in ("etcd-client", "kube-apiserver", "kubelet-client"))
    flags: dict[str, object] = {
        "etcd-servers": settings.etcd,
        "etcd-cafile": certificates.etcd_authority.certificate,
        "etcd-certfile": etcd_client.certificate,
        "etcd-keyfile": etcd_client.key,
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": settings.ports[API_SERVER],
        # Endpoints refuse loopback addresses; the reconciler would try every 10 s.
        "endpoint-reconciler-type": "none",
        "tls-cert-file": server.certificate,
        "tls-private-key-file": server.key,
        "client-ca-file": certificates.cluster_authority.certificate,
        "anonymous-auth": "false",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "service-account-issuer": _ISSUER,
        "service-account-key-file": certificates.service_account_public_key,
        "service-account-signing-key-file": certificates.service_account_key,
        "service-cluster-ip-range": SERVICE_RANGE,
        "kubelet-client-certificate": kubelet_client.certificate,
        "kubelet-client-key": kubelet_client.key,
        "kubelet-certificate-authority": certificates.cluster_authority.certificate,
        "kubelet-preferred-address-types": "InternalIP",
        "profiling": "false",
    }
    files: tuple[Path, ...] = ()
    if settings.options.audit:
        flags |= {"audit-policy-file": settings.audit_policy, "audit-log-path": settings.audit_log}
        files = (settings.audit_policy,)
    # Fewer collections for memory that a laptop has: CPU is what the whole town waits for.
    return _command(settings.programs.kube_apiserver, flags, {"GOGC": "300", "GOMEMLIMIT": "3GiB"}, files)


def controller_manager(settings: Settings) -> Command:
    """Jobs, Deployments, StatefulSets, garbage collection, ServiceAccounts, node health."""
    authority = settings.certificates.cluster_authority
    kubeconfig = settings.directory.kubeconfigs / f"{CONTROLLER_MANAGER}.yaml"
    flags = {
        "kubeconfig": kubeconfig,
        "leader-elect": "false",
        "secure-port": 0,
        "use-service-account-credentials": "true",
        "service-account-private-key-file": settings.certificates.service_account_key,
        "root-ca-file": authority.certificate,
        "cluster-signing-cert-file": authority.certificate,
        "cluster-signing-key-file": authority.key,
        # At the default of 20 requests/s the first start waits 5 s for its own throttle.
        "kube-api-qps": 300,
        "kube-api-burst": 600,
        "profiling": "false",
    }
    return _command(settings.programs.kube_controller_manager, flags, files=(kubeconfig,))


def scheduler(settings: Settings) -> Command:
    """Binds pods to the process node."""
    kubeconfig = settings.directory.kubeconfigs / f"{SCHEDULER}.yaml"
    flags = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "leader-elect": "false",
        "secure-port": 0,
        "kube-api-qps": 300,
        "kube-api-burst": 600,
        "profiling": "false",
    }
    return _command(settings.programs.kube_scheduler, flags, files=(kubeconfig,))


def _command(
    program: Path, flags: Mapping[str, object], environment: Mapping[str, str] | None = None, files: tuple[Path, ...] = ()
) -> Command:
    return Command([str(program), *(f"--{name}={value}" for name, value in flags.items())], environment or {}, files)

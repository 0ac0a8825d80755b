"""The town's keys and certificates: two authorities, and one certificate per identity.

Two authorities, because etcd accepts whoever its authority vouches for: under a common one every kubelet, controller and storage
provisioner could read all Secrets from etcd, past RBAC.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gastown.local.atomic_file import write_atomically

AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(days=365)
# Renewed this long before the end: a town may stay up for weeks between two calls of `gt up`.
RENEW_BEFORE = timedelta(days=60)
# The clocks of laptops step back now and then.
_BACKDATED = timedelta(hours=1)

PROVISIONER_NAME = "gastown:volume-provisioner"
KUBELET_CLIENT_NAME = "apiserver-kubelet-client"
_LOOPBACK = ("127.0.0.1", "localhost")
_KUBERNETES_SERVICE = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


@dataclass(frozen=True, slots=True)
class Pair:
    """A PEM certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A certificate as it should be."""

    common_name: str
    organizations: Sequence[str] = ()
    hosts: Sequence[str] = ()
    serves: bool = False
    calls: bool = False
    authority: str = "cluster-authority"
    life: timedelta = field(default=LIFE)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where each certificate of a town is; `ensure_certificates` makes them.

    Attributes:
        folder: Mode 0700; every key in it has mode 0600.
    """

    folder: Path

    def pair(self, name: str) -> Pair:
        """Certificate and key of an identity: one of the properties' names below, with dashes."""
        return Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    @property
    def cluster_authority(self) -> Pair:
        """Signs everything but etcd's."""
        return self.pair("cluster-authority")

    @property
    def etcd_authority(self) -> Pair:
        """Signs etcd's server and its one client, the API server."""
        return self.pair("etcd-authority")

    @property
    def service_account_key(self) -> Path:
        """Signs ServiceAccount tokens. Never replaced while readable: every token of the town would end."""
        return self.folder / "service-account.key"

    @property
    def service_account_public_key(self) -> Path:
        """Checks ServiceAccount tokens."""
        return self.folder / "service-account.pub"


def ensure_certificates(folder: Path, node_name: str, service_address: str, *, now: datetime | None = None) -> Certificates:
    """Make what is missing, damaged, about to expire or made for something else; keep all else.

    Args:
        folder: Exists, mode 0700.
        node_name: The node's certificate is bound to it.
        service_address: ClusterIP of the kubernetes Service, first of the service range.
        now: For tests; the clock by default.
    """
    moment = now or datetime.now(UTC)
    certificates = Certificates(folder)
    for name, common_name in (("cluster-authority", "gastown local authority"), ("etcd-authority", "gastown local etcd authority")):
        _ensure_authority(certificates.pair(name), common_name, moment)
    for name, wanted in _wanted(node_name, service_address).items():
        _ensure_leaf(certificates.pair(name), wanted, certificates.pair(wanted.authority), moment)
    _ensure_service_account_key(certificates)
    return certificates


def _wanted(node_name: str, service_address: str) -> dict[str, _Wanted]:
    return {
        "etcd-server": _Wanted("etcd", hosts=_LOOPBACK, serves=True, calls=True, authority="etcd-authority"),
        "etcd-client": _Wanted("kube-apiserver", calls=True, authority="etcd-authority"),
        "kube-apiserver": _Wanted("kube-apiserver", hosts=(*_LOOPBACK, *_KUBERNETES_SERVICE, service_address), serves=True),
        "kubelet-client": _Wanted(KUBELET_CLIENT_NAME, calls=True),
        "admin": _Wanted("gastown:admin", organizations=("system:masters",), calls=True),
        "kube-controller-manager": _Wanted("system:kube-controller-manager", calls=True),
        "kube-scheduler": _Wanted("system:kube-scheduler", calls=True),
        "node": _Wanted(f"system:node:{node_name}", organizations=("system:nodes",), calls=True),
        "node-server": _Wanted(f"system:node:{node_name}", hosts=(*_LOOPBACK, node_name), serves=True),
        "volume-provisioner": _Wanted(PROVISIONER_NAME, calls=True),
    }


def _ensure_authority(pair: Pair, common_name: str, now: datetime) -> None:
    certificate = _read_certificate(pair)
    if certificate is not None and _lasts(certificate, now) and certificate.subject == _name(common_name, ()):
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name, ())
    builder = _builder(name, name, key, now, AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    _write(pair, key, builder.sign(key, hashes.SHA256()))


def _ensure_leaf(pair: Pair, wanted: _Wanted, authority: Pair, now: datetime) -> None:
    authority_certificate = _read_certificate(authority)
    assert authority_certificate is not None
    certificate = _read_certificate(pair)
    if certificate is not None and _lasts(certificate, now) and _is_as_wanted(certificate, wanted, authority_certificate):
        return
    authority_key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(wanted.common_name, wanted.organizations), authority_certificate.subject, key, now, wanted.life)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(_usages(wanted)), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    if wanted.hosts:
        builder = builder.add_extension(_alternative_names(wanted.hosts), critical=False)
    _write(pair, key, builder.sign(authority_key, hashes.SHA256()))


def _ensure_service_account_key(certificates: Certificates) -> None:
    key = _read_key(certificates.service_account_key)
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        write_atomically(certificates.service_account_key, _key_bytes(key))
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    file = certificates.service_account_public_key
    if not file.exists() or file.read_bytes() != public:
        write_atomically(file, public)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
    )


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usages(wanted: _Wanted) -> list[x509.ObjectIdentifier]:
    # One usage each wherever possible: a stolen serving key must not also be a client.
    usages = []
    if wanted.serves:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    if wanted.calls:
        usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    return usages


def _alternative_names(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _lasts(certificate: x509.Certificate, now: datetime) -> bool:
    # not_valid_before too: a clock that once ran ahead must not leave a town that no one can enter.
    return certificate.not_valid_before_utc <= now and now + RENEW_BEFORE < certificate.not_valid_after_utc


def _is_as_wanted(certificate: x509.Certificate, wanted: _Wanted, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    if certificate.subject != _name(wanted.common_name, wanted.organizations):
        return False
    found = {extension.oid: extension.value for extension in certificate.extensions}
    names = found.get(x509.SubjectAlternativeName.oid)
    return found.get(x509.ExtendedKeyUsage.oid) == x509.ExtendedKeyUsage(_usages(wanted)) and names == (
        _alternative_names(wanted.hosts) if wanted.hosts else None
    )


def _read_certificate(pair: Pair) -> x509.Certificate | None:
    """The certificate, if it can be read and its key fits: a crash may have come between writing the two."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    key = _read_key(pair.key)
    if key is None or key.public_key() != certificate.public_key():
        return None
    return certificate


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    file.chmod(0o600)
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(pair: Pair, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    write_atomically(pair.key, _key_bytes(key))
    write_atomically(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))

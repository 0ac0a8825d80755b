from __future__ import annotations

import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from gastown.local.certificates import RENEW_BEFORE, Certificates, ensure_certificates

NODE, SERVICE = "gastown-test", "10.96.0.1"
SERVERS = {"etcd-server", "kube-apiserver", "node-server"}
OF_ETCD = {"etcd-server", "etcd-client"}
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "certificates"
    made.mkdir(mode=0o700)
    return made


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def load(certificates: Certificates, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificates.pair(name).certificate.read_bytes())


def leaves(certificates: Certificates) -> list[str]:
    return sorted(file.stem for file in certificates.folder.glob("*.crt") if not file.stem.endswith("-authority"))


def test_every_certificate_is_signed_by_its_authority_and_by_no_other(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE)
    for name in leaves(certificates):
        own, other = certificates.cluster_authority, certificates.etcd_authority
        if name in OF_ETCD:
            own, other = other, own
        verify = ["openssl", "verify", "-x509_strict", "-CAfile"]
        leaf = str(certificates.pair(name).certificate)
        assert subprocess.run([*verify, str(own.certificate), leaf], capture_output=True, check=False).returncode == 0, name
        assert subprocess.run([*verify, str(other.certificate), leaf], capture_output=True, check=False).returncode != 0, name


def test_keys_are_readable_by_their_owner_alone(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE)
    for file in certificates.folder.glob("*.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_key_that_others_could_read_is_closed_again(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE)
    certificates.pair("admin").key.chmod(0o644)
    ensure_certificates(folder, NODE, SERVICE)
    assert stat.S_IMODE(certificates.pair("admin").key.stat().st_mode) == 0o600


def test_a_serving_certificate_is_no_client_of_the_api_server(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE)
    for name in leaves(certificates):
        usages = list(load(certificates, name).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        assert (ExtendedKeyUsageOID.SERVER_AUTH in usages) == (name in SERVERS), name
        if name not in OF_ETCD:
            assert len(usages) == 1, name


def test_identities_carry_the_names_that_kubernetes_knows(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE)
    subjects = {name: load(certificates, name).subject.rfc4514_string() for name in leaves(certificates)}
    assert {name: subjects[name] for name in subjects if name not in {*SERVERS, "etcd-client"}} == {
        "admin": "CN=gastown:admin,O=system:masters",
        "kube-controller-manager": "CN=system:kube-controller-manager",
        "kube-scheduler": "CN=system:kube-scheduler",
        "kubelet-client": "CN=apiserver-kubelet-client",
        "node": f"CN=system:node:{NODE},O=system:nodes",
        "volume-provisioner": "CN=gastown:volume-provisioner",
    }


def test_the_api_server_is_reachable_under_every_name_its_clients_use(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE)
    names = load(certificates, "kube-apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "kubernetes.default.svc"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", SERVICE} == {str(address) for address in names.get_values_for_type(x509.IPAddress)}


def test_openssl_accepts_each_pair(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE)
    for name in leaves(certificates):
        pair = certificates.pair(name)
        ssl.create_default_context(cafile=str(certificates.cluster_authority.certificate)).load_cert_chain(pair.certificate, pair.key)


def test_a_second_call_changes_nothing(folder: Path) -> None:
    ensure_certificates(folder, NODE, SERVICE)
    before = content(folder)
    ensure_certificates(folder, NODE, SERVICE)
    assert content(folder) == before


def test_certificates_near_their_end_are_renewed_under_the_same_authority(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE, now=NOW)
    before = content(folder)
    end = load(certificates, "admin").not_valid_after_utc
    later = end - RENEW_BEFORE + timedelta(hours=1)
    ensure_certificates(folder, NODE, SERVICE, now=later)
    changed = {name for name, data in content(folder).items() if data != before[name]}
    assert changed == {f"{name}.{ending}" for name in leaves(certificates) for ending in ("crt", "key")}
    assert load(certificates, "admin").not_valid_after_utc > later + RENEW_BEFORE


def test_a_certificate_made_while_the_clock_ran_ahead_is_made_again(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE, now=NOW + timedelta(days=900))
    ensure_certificates(folder, NODE, SERVICE, now=NOW)
    assert load(certificates, "admin").not_valid_before_utc <= NOW
    assert load(certificates, "cluster-authority").not_valid_before_utc <= NOW


@pytest.mark.parametrize("damage", [b"", b"not a certificate"], ids=["emptied", "overwritten"])
@pytest.mark.parametrize("ending", ["crt", "key"])
def test_a_damaged_file_is_made_again_and_nothing_else(folder: Path, ending: str, damage: bytes) -> None:
    ensure_certificates(folder, NODE, SERVICE)
    before = content(folder)
    (folder / f"node.{ending}").write_bytes(damage)
    ensure_certificates(folder, NODE, SERVICE)
    assert {name for name, data in content(folder).items() if data != before[name]} == {"node.crt", "node.key"}


def test_a_key_without_its_certificate_as_a_crash_leaves_it_is_no_obstacle(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE)
    other = certificates.pair("kube-scheduler").key.read_bytes()
    certificates.pair("admin").key.write_bytes(other)
    ensure_certificates(folder, NODE, SERVICE)
    pair = certificates.pair("admin")
    ssl.create_default_context(cafile=str(certificates.cluster_authority.certificate)).load_cert_chain(pair.certificate, pair.key)


def test_a_new_authority_signs_everything_anew_but_tokens_stay_valid(folder: Path) -> None:
    certificates = ensure_certificates(folder, NODE, SERVICE)
    before = content(folder)
    certificates.cluster_authority.key.unlink()
    ensure_certificates(folder, NODE, SERVICE)
    after = content(folder)
    assert all(after[f"{name}.crt"] != before[f"{name}.crt"] for name in leaves(certificates) if name not in OF_ETCD)
    assert all(after[name] == before[name] for name in ("service-account.key", "service-account.pub", "etcd-server.crt"))


def test_another_node_name_gets_another_node_certificate_only(folder: Path) -> None:
    ensure_certificates(folder, NODE, SERVICE)
    before = content(folder)
    ensure_certificates(folder, "gastown-other", SERVICE)
    changed = {name.rpartition(".")[0] for name, data in content(folder).items() if data != before[name]}
    assert changed == {"node", "node-server"}

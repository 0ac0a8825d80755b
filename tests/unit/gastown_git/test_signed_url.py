"""Signed links to trees: only the exact link works, and only until it expires."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_git.signed_url import is_signed, load_key, sign_tree, tree_url

KEY = b"k" * 32
TREE = "12" * 20
SIGNATURE = sign_tree(KEY, "town", "greeter", TREE, 1000)


def test_a_link_opens_its_own_tree_until_it_expires() -> None:
    url = urlsplit(tree_url("http://repo:8080/", KEY, "town", "greeter", TREE, 1000))
    query = parse_qs(url.query)
    assert url.path == f"/town/greeter.git/tree/{TREE}.tar"
    assert is_signed(KEY, "town", "greeter", TREE, query["exp"][0], query["sig"][0], now=1000.0)
    assert not is_signed(KEY, "town", "greeter", TREE, query["exp"][0], query["sig"][0], now=1000.5)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param((KEY, "other", "greeter", TREE, "1000", SIGNATURE), id="another namespace"),
        pytest.param((KEY, "town", "other", TREE, "1000", SIGNATURE), id="another rig"),
        pytest.param((KEY, "town", "greeter", "34" * 20, "1000", SIGNATURE), id="another tree"),
        pytest.param((KEY, "town", "greeter", TREE, "9999", SIGNATURE), id="a later expiry"),
        pytest.param((b"x" * 32, "town", "greeter", TREE, "1000", SIGNATURE), id="another key"),
        pytest.param((KEY, "town", "greeter", TREE, "1000", SIGNATURE[:-1]), id="a shortened signature"),
        pytest.param((KEY, "town", "greeter", TREE, "1000", ""), id="no signature"),
        pytest.param((KEY, "town", "greeter", TREE, "1000", "é" * 64), id="a signature that is not ASCII"),
        pytest.param((KEY, "town", "greeter", TREE, "", SIGNATURE), id="no expiry"),
        pytest.param((KEY, "town", "greeter", TREE, "1e9", SIGNATURE), id="an expiry in another notation"),
        pytest.param((KEY, "town", "greeter", TREE, "²²", SIGNATURE), id="an expiry in other digits"),
        pytest.param((KEY, "town", "greeter", TREE, "9" * 5000, SIGNATURE), id="an endless expiry"),
    ],
)
def test_a_link_with_any_part_changed_is_refused(changed: tuple[bytes, str, str, str, str, str]) -> None:
    assert not is_signed(*changed, now=500.0)


@given(st.text(max_size=70), st.text(max_size=15))
def test_law_no_made_up_signature_or_expiry_opens_anything(signature: str, expires: str) -> None:
    assert not is_signed(KEY, "town", "greeter", TREE, expires, signature, now=0.0)


def test_all_processes_of_a_pod_get_the_same_key_whoever_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "tree-key"
    keys: list[bytes] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        keys.append(load_key(path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert [entry.name for entry in path.parent.iterdir()] == ["tree-key"]
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_key_is_refused_and_not_used(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(ValueError, match="5 bytes instead of 32"):
        load_key(tmp_path / "key")

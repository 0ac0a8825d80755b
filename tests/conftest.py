"""Fixtures for all tests, and the programs of the control plane made ready before the first test's clock runs."""

from __future__ import annotations

import pytest
from hypothesis import settings

from support.cluster import api_server, namespace, programs, town_cluster

__all__ = ["api_server", "namespace", "town_cluster"]

# Machines are noisy: how long an example takes says nothing about the code. A failing example is printed so that it can be replayed.
settings.register_profile("gastown", deadline=None, print_blob=True)
settings.load_profile("gastown")

CLUSTER_FIXTURES = {"api_server", "town_cluster"}


def needs_cluster(item: pytest.Item) -> bool:
    """Whether a test uses a control plane."""
    return bool(CLUSTER_FIXTURES.intersection(getattr(item, "fixturenames", ()))) or item.get_closest_marker("cluster") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a control plane, so that `-m "not cluster"` runs without one."""
    for item in items:
        if needs_cluster(item):
            item.add_marker("cluster")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs here: it takes minutes the first time, and a test may not."""
    if session.config.option.collectonly or not any(needs_cluster(item) for item in session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        programs()

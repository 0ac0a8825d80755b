"""Fixtures shared by the API tests: imported here once, so that one process node serves the whole run."""

from __future__ import annotations

from support.process_node import node, node_cluster, running_node, space

__all__ = ["node", "node_cluster", "running_node", "space"]

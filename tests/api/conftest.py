"""Fixtures shared by the API tests: imported here once, so that one process node and one town of the rights serve the whole run."""

from __future__ import annotations

from support.process_node import node, node_cluster, running_node, space
from support.rights_town import rights

__all__ = ["node", "node_cluster", "rights", "running_node", "space"]

"""What all pods of one node agent share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gastown.local.node.api_client import ApiClient
from gastown.local.node.config import NodeConfig
from gastown.local.node.container_spec import HostView
from gastown.local.node.events import EventRecorder
from gastown.local.node.references import References
from gastown.local.node.services import ServiceDirectory
from gastown.local.node.state_directory import PodFiles


@dataclass(frozen=True, slots=True)
class NodeContext:
    """Handed to every pod worker.

    Attributes:
        allocatable: Of the node, by resource; the default of resourceFieldRef limits.
        api_host, api_port: Where containers find the API server.
    """

    config: NodeConfig
    client: ApiClient
    references: References
    events: EventRecorder
    services: ServiceDirectory
    view: HostView
    memory_directory: Path
    allocatable: dict[str, str]
    api_host: str
    api_port: str

    def files(self, uid: str) -> PodFiles:
        """Directories of one pod."""
        return PodFiles(self.config.state_directory, self.memory_directory, uid)

"""AgentProfile: which agent CLI runs in a session pod, and with what."""

from __future__ import annotations

from dataclasses import dataclass, field

from .meta import Condition, ObjectMeta

ADAPTERS = ("claude", "codex", "opencode", "gemini", "pi", "shell", "command")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """A plain variable for the agent; secrets come by `secretNames`."""

    name: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Kubernetes quantities by resource name."""

    requests: dict[str, str] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """When a session is ended; 0 means no such limit."""

    turns: int = 0
    timeoutSeconds: int = 3600
    costMicroUSD: int = 0
    attempts: int = 3
    reworks: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Micro-USD per million tokens; None means unknown, which is not 0."""

    input: int | None = None
    output: int | None = None
    cacheRead: int | None = None
    cacheWrite: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfileSpec:
    """How an agent is run."""

    adapter: str = "shell"
    model: str = ""
    image: str = ""
    command: list[str] = field(default_factory=list)
    env: list[EnvVar] = field(default_factory=list)
    secretNames: list[str] = field(default_factory=list)
    resources: Resources = field(default_factory=Resources)
    limits: SessionLimits = field(default_factory=SessionLimits)
    prices: Prices = field(default_factory=Prices)
    runtimeClassName: str = ""
    checkpointSeconds: int = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfileStatus:
    """What was observed of a profile."""

    observedGeneration: int = 0
    actor: str = ""
    agents: int = 0
    conditions: list[Condition] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """How a kind of agent is run."""

    apiVersion: str = "gastown.dev/v1alpha1"
    kind: str = "AgentProfile"
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: AgentProfileSpec = field(default_factory=AgentProfileSpec)
    status: AgentProfileStatus = field(default_factory=AgentProfileStatus)

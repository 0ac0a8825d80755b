"""Who sent this token, and may they read this rig? TokenReview and SubjectAccessReview, cached for seconds.

A session's token is bound to its pod by the API server: it stops authenticating when the pod is deleted, and since the pod is named
as its agent, at most one pod's token speaks for an agent at a time. So no list of sessions is kept here.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gastown.api import labels, names
from gastown.api.agent import ROLE_POLECAT, Agent
from gastown.api.kinds import Kind
from gastown.kube.aio import Client
from gastown.runtime.store import Store
from gastown_git.server.access import Identity

V = TypeVar("V")

# Longer would let a deleted pod push for longer; DESIGN section 8 bounds it to 10 s, and a review itself takes a few ms.
CACHE_SECONDS = 8.0
CACHE_ENTRIES = 4096
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
POD_NAME = "authentication.kubernetes.io/pod-name"

TOKEN_REVIEW = Kind("TokenReview", "tokenreviews", "authentication.k8s.io", "v1")
SUBJECT_ACCESS_REVIEW = Kind("SubjectAccessReview", "subjectaccessreviews", "authorization.k8s.io", "v1")


@dataclass(frozen=True, slots=True)
class _User:
    """What a TokenReview tells."""

    name: str
    uid: str
    groups: tuple[str, ...]
    pod_name: str


class Authenticator:
    """Turns tokens into identities.

    Args:
        client: Of the repo pod's own identity; needs system:auth-delegator.
        agents: Store of Agent objects: role and rig of a ServiceAccount.
        clock: Monotonic seconds.
    """

    def __init__(self, client: Client, agents: Store[Agent], *, clock: Callable[[], float]) -> None:
        self._client = client
        self._agents = agents
        self._identities: _Recent[Identity | None] = _Recent(clock)
        self._reads: _Recent[bool] = _Recent(clock)

    async def authenticate(self, token: str) -> Identity | None:
        """The identity behind a token; None when the API server does not know it.

        Raises:
            ApiError: The API server can not be asked; the caller answers 503, never "yes".
        """
        # The cache must not hold tokens in memory longer than a request does.
        key = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        known, identity = self._identities.find(key)
        if not known:
            identity = await self._review(token)
            self._identities.put(key, identity)
        return identity

    async def may_read(self, identity: Identity, namespace: str, rig: str) -> bool:
        """Whether the identity may fetch from the rig: an agent from the rigs of its town, a person whoever may `get` the Rig."""
        if identity.kind == "agent":
            return identity.namespace == namespace and identity.rig in ("", rig)
        key = f"{identity.actor}\0{namespace}\0{rig}"
        known, allowed = self._reads.find(key)
        if not known:
            allowed = await self._may_get_rig(identity, namespace, rig)
            self._reads.put(key, allowed)
        return bool(allowed)

    async def _review(self, token: str) -> Identity | None:
        user = await self._token_review(token, audiences=[labels.REPOSITORY_AUDIENCE])
        if user is not None and user.name.startswith(SERVICE_ACCOUNT_PREFIX):
            return self._agent_identity(user)
        if user is None:
            # A person's own credential carries the API server's audience. A ServiceAccount's does too, and an agent's API token
            # must not open the repository: it is not bound to be this session's.
            user = await self._token_review(token, audiences=[])
        if user is None or user.name.startswith(SERVICE_ACCOUNT_PREFIX):
            return None
        return Identity(kind="person", actor=user.name, namespace="", agent="", rig="", groups=user.groups)

    def _agent_identity(self, user: _User) -> Identity | None:
        namespace, _, name = user.name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
        agent = self._agents.find(namespace, name)
        if agent is None or agent.spec.retired or agent.spec.suspend:
            return None
        if agent.spec.role == ROLE_POLECAT and user.pod_name != name:
            return None  # a polecat speaks only from its session pod
        actor = names.display_actor(agent.spec.role, agent.spec.rigName, name)
        return Identity(
            kind="agent", actor=actor, namespace=namespace, agent=name, rig=agent.spec.rigName, role=agent.spec.role, groups=user.groups
        )

    async def _token_review(self, token: str, audiences: list[str]) -> _User | None:
        spec: dict[str, Any] = {"token": token}
        if audiences:
            spec["audiences"] = audiences
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        status = (await self._client.create(TOKEN_REVIEW, review, raw=True)).get("status", {})
        if not status.get("authenticated") or (audiences and not set(audiences) & set(status.get("audiences") or [])):
            return None
        user = status.get("user", {})
        pod_names = (user.get("extra") or {}).get(POD_NAME) or [""]
        return _User(user.get("username", ""), user.get("uid", ""), tuple(user.get("groups") or ()), pod_names[0])

    async def _may_get_rig(self, identity: Identity, namespace: str, rig: str) -> bool:
        attributes = {"namespace": namespace, "verb": "get", "group": "gastown.dev", "resource": "rigs", "name": rig}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": identity.actor, "groups": list(identity.groups), "resourceAttributes": attributes},
        }
        answer = await self._client.create(SUBJECT_ACCESS_REVIEW, review, raw=True)
        return bool(answer.get("status", {}).get("allowed"))


class _Recent(Generic[V]):
    """Answers of the last seconds, bounded in number; the oldest goes first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, V]] = OrderedDict()

    def find(self, key: str) -> tuple[bool, V | None]:
        """Whether there is a fresh answer, and which."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= self._clock():
            return False, None
        return True, entry[1]

    def put(self, key: str, answer: V) -> None:
        """Remember an answer for CACHE_SECONDS."""
        self._entries.pop(key, None)
        self._entries[key] = (self._clock() + CACHE_SECONDS, answer)
        while len(self._entries) > CACHE_ENTRIES:
            self._entries.popitem(last=False)

"""Who sent this token, and may they read this rig? TokenReview and SubjectAccessReview, cached for seconds.

A session's token is bound to its pod, and since the pod is named as its agent, at most one pod's token speaks for an agent at a time.
The API server itself goes on accepting the token of a deleted pod for 10 s (its own cache), so the pod is looked for as well.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from gastown.api import labels, names
from gastown.api.agent import ROLE_POLECAT, Agent
from gastown.api.core import Pod
from gastown.api.kinds import POD, Kind
from gastown.kube.aio import Client
from gastown.kube.errors import NotFound
from gastown.runtime.store import Store
from gastown_git.server.access import Identity

V = TypeVar("V")

# A review takes a few ms of the API server, and a git command asks two or three times.
CACHE_SECONDS = 8.0
# An agent that was just made may be unknown for a moment.
REFUSAL_SECONDS = 1.0
CACHE_ENTRIES = 4096
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"

TOKEN_REVIEW = Kind("TokenReview", "tokenreviews", "authentication.k8s.io", "v1")
SUBJECT_ACCESS_REVIEW = Kind("SubjectAccessReview", "subjectaccessreviews", "authorization.k8s.io", "v1")


@dataclass(frozen=True, slots=True)
class _User:
    """What a TokenReview tells."""

    name: str
    groups: tuple[str, ...]
    pod_name: str
    pod_uid: str


class Authenticator:
    """Turns tokens into identities.

    Args:
        client: Of the repo pod's own identity; needs system:auth-delegator.
        agents: Role and rig of a ServiceAccount.
        pods: Session pods.
        clock: Monotonic seconds.
    """

    def __init__(self, client: Client, agents: Store[Agent], pods: Store[Pod], *, clock: Callable[[], float]) -> None:
        self._client = client
        self._agents = agents
        self._pods = pods
        self._users: _Recent[_User | None] = _Recent(clock)
        self._reads: _Recent[bool] = _Recent(clock)

    async def authenticate(self, token: str) -> Identity | None:
        """The identity behind a token; None when the API server does not know it, or its agent or session is no more.

        Raises:
            ApiError: The API server can not be asked; the caller answers 503, never "yes".
        """
        # The cache must not hold tokens in memory longer than a request does.
        key = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        known, user = self._users.find(key)
        if not known:
            user = await self._review(token)
            self._users.put(key, user, CACHE_SECONDS if user is not None else REFUSAL_SECONDS)
        if user is None:
            return None
        if not user.name.startswith(SERVICE_ACCOUNT_PREFIX):
            return Identity(kind="person", actor=user.name, groups=user.groups)
        identity = self._agent_identity(user)
        if identity is None or not user.pod_uid:
            return identity  # a token that is bound to no pod lives as long as it says
        pod = await self._find_session(identity, user)
        return replace(identity, bead=pod.metadata.labels.get(labels.BEAD, "")) if pod is not None else None

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

    async def _review(self, token: str) -> _User | None:
        user = await self._token_review(token, audiences=[labels.REPOSITORY_AUDIENCE])
        if user is not None:
            return user
        # A person's own credential carries the API server's audience. A ServiceAccount's does too, and an agent's API token must not
        # open the repository.
        user = await self._token_review(token, audiences=[])
        return None if user is None or user.name.startswith(SERVICE_ACCOUNT_PREFIX) else user

    async def _find_session(self, identity: Identity, user: _User) -> Pod | None:
        """The pod a token is bound to, if it still exists. A session that is being deleted may still save its work."""
        pod = self._pods.find(identity.namespace, user.pod_name)
        if pod is None or pod.metadata.uid != user.pod_uid:
            # It may have started before the watch told; anything else is over.
            try:
                pod = await self._client.get(POD, identity.namespace, user.pod_name)
            except NotFound:
                return None
        return pod if pod.metadata.uid == user.pod_uid else None

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
        extra = user.get("extra") or {}
        pod_name, pod_uid = ((extra.get(key) or [""])[0] for key in (POD_NAME, POD_UID))
        return _User(user.get("username", ""), tuple(user.get("groups") or ()), pod_name, pod_uid)

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

    def put(self, key: str, answer: V, seconds: float = CACHE_SECONDS) -> None:
        """Remember an answer for some seconds."""
        self._entries.pop(key, None)
        self._entries[key] = (self._clock() + seconds, answer)
        while len(self._entries) > CACHE_ENTRIES:
            self._entries.popitem(last=False)

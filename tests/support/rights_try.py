"""Carries out one try of the table of rights as one identity, as a dry run on the real API server: everything but the storing happens."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gastown.api.kinds import GASTOWN_KINDS
from gastown.kube import paths
from gastown.kube.errors import ApiError
from support.rights_table import SCHEMA, Identity, Refusal, Right, Try
from support.rights_town import RightsTown

OURS = {kind.plural: kind.name for kind in GASTOWN_KINDS}
# Resource or subresource -> kind and version of what is sent to it.
SENT = {
    "pods": ("Pod", "v1"),
    "pods/binding": ("Binding", "v1"),
    "pods/eviction": ("Eviction", "policy/v1"),
    "serviceaccounts/token": ("TokenRequest", "authentication.k8s.io/v1"),
    "serviceaccounts": ("ServiceAccount", "v1"),
    "secrets": ("Secret", "v1"),
    "configmaps": ("ConfigMap", "v1"),
    "events": ("Event", "v1"),
    "namespaces": ("Namespace", "v1"),
    "jobs.batch": ("Job", "batch/v1"),
    "cronjobs.batch": ("CronJob", "batch/v1"),
    "deployments.apps": ("Deployment", "apps/v1"),
    "leases.coordination.k8s.io": ("Lease", "coordination.k8s.io/v1"),
    "roles.rbac.authorization.k8s.io": ("Role", "rbac.authorization.k8s.io/v1"),
    "rolebindings.rbac.authorization.k8s.io": ("RoleBinding", "rbac.authorization.k8s.io/v1"),
    "tokenreviews.authentication.k8s.io": ("TokenReview", "authentication.k8s.io/v1"),
    "subjectaccessreviews.authorization.k8s.io": ("SubjectAccessReview", "authorization.k8s.io/v1"),
}
CONTENT = {"patch": paths.MERGE_PATCH, "json-patch": paths.JSON_PATCH, "apply": paths.APPLY_PATCH}
METHOD = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "connect": "POST",
    "update": "PUT",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}
RBAC_VERB = {"json-patch": "patch", "apply": "patch", "connect": "create"}
# These go on to a kubelet, which is not there: whatever it says, it is not that one may not.
ANSWERED_BY_THE_NODE = {"pods/exec", "pods/attach", "pods/portforward", "pods/log", "pods/proxy"}


@dataclass(frozen=True)
class Answer:
    """What became of a try.

    Attributes:
        status: HTTP status; 200 for any success.
        message: Of the refusal.
    """

    status: int
    message: str = ""
    value: Mapping[str, Any] = field(default_factory=dict)


def attempt(town: RightsTown, identity: Identity, one: Try) -> Answer:
    """Send it."""
    words = town.words(identity)
    if one.verb == "impersonate":
        return _impersonate(town, identity, one)
    path, body = _request(town, one, words)
    method = METHOD.get(one.verb, "PATCH")
    try:
        return Answer(200, value=town.clients[identity.name].request(method, path, body, content_type=CONTENT.get(one.verb, paths.JSON)))
    except ApiError as error:
        return Answer(error.status, error.message)


def complaint(town: RightsTown, identity: Identity, right: Right, one: Try) -> str:
    """What is wrong with the answer to a try; "" if it is what the table says."""
    if identity.name in one.exempt:
        return ""
    answer = attempt(town, identity, one)
    if identity.name in right.may:
        problem = _why_not_allowed(identity, one, answer)
    elif refusals := right.refusals_for(identity):
        problem = _why_not_refused_by(refusals, town.words(identity), answer)
    else:
        problem = _why_not_refused_by_rbac(identity, one, answer)
    return f"{identity.title} ({identity.name}), {one.text}: {problem}" if problem else ""


def _why_not_allowed(identity: Identity, one: Try, answer: Answer) -> str:
    if answer.status != 200:
        if one.resource in ANSWERED_BY_THE_NODE and answer.status not in (401, 403):
            return ""
        gone = one.verb == "delete" and answer.status == 404
        return "" if gone else f"should be allowed, but {answer.status}: {answer.message}"
    plural, _, subresource = one.resource.partition("/")
    if plural not in OURS or one.verb in ("get", "list", "delete", "deletecollection"):
        return ""
    stamp = answer.value["status"]["actor"] if subresource else answer.value["metadata"]["annotations"]["gastown.dev/actor"]
    return "" if stamp == identity.username else f"is stamped {stamp}, not {identity.username}"


def _why_not_refused_by(refusals: tuple[Refusal, ...], words: Mapping[str, str], answer: Answer) -> str:
    if answer.status not in (422, 403):
        return f"should be refused by {' or '.join(one.by for one in refusals)}, but {answer.status}: {answer.message}"
    for refusal in refusals:
        by = "is invalid: " if refusal.by == SCHEMA else f"ValidatingAdmissionPolicy '{refusal.by}' with binding"
        if by in answer.message and re.search(filled(refusal.says, {key: re.escape(word) for key, word in words.items()}), answer.message):
            return ""
    return f"should be told by {' or '.join(f'{one.by}: {one.says}' for one in refusals)}, but was told: {answer.message}"


def _why_not_refused_by_rbac(identity: Identity, one: Try, answer: Answer) -> str:
    if not identity.account:
        return "" if answer.status == 401 else f"should be unauthorized, but {answer.status}: {answer.message}"
    plural, _, subresource = one.resource.partition("/")
    resource = plural.partition(".")[0] + (f"/{subresource}" if subresource else "")
    verb = RBAC_VERB.get(one.verb, one.verb)
    wanted = f'User "{identity.username}" cannot {verb}'
    # What exactly may not be done as somebody else differs between versions of Kubernetes.
    wanted += "" if one.verb == "impersonate" else f' resource "{resource}"'
    if answer.status == 403 and wanted in answer.message:
        return ""
    return f"should be refused by RBAC ({wanted}), but {answer.status}: {answer.message}"


def filled(told: Any, words: Mapping[str, str]) -> Any:
    """With words in place of placeholders."""
    if isinstance(told, str):
        return re.sub(r"\{([a-z_]+)\}", lambda found: words[found[1]], told)
    if isinstance(told, list):
        return [filled(one, words) for one in told]
    if isinstance(told, dict):
        return {key: filled(value, words) for key, value in told.items()}
    return told


def _request(town: RightsTown, one: Try, words: Mapping[str, str]) -> tuple[str, Any]:
    plural, _, subresource = one.resource.partition("/")
    plural, _, group = plural.partition(".")
    kind, version = (OURS[plural], "gastown.dev/v1alpha1") if plural in OURS else SENT.get(one.resource, ("", "v1"))
    served = "gastown.dev/v1alpha1" if plural in OURS else f"{group}/v1" if group else "v1"
    root = f"/apis/{served}" if "/" in served else f"/api/{served}"
    name = filled(one.name, words)
    parts = [root, *([f"namespaces/{one.namespace}"] if one.namespace else []), plural]
    addressed = one.verb not in ("list", "create", "deletecollection") or subresource
    parts += [name] if addressed else []
    item = "/".join(parts)
    path = f"{item}/{subresource}" if subresource else item
    dry = "" if one.verb in ("get", "list", "connect") else "All"
    path = paths.with_query(path, dryRun=dry, fieldManager=one.manager, force=True if one.verb == "apply" else None)
    if one.query:
        path = f"{path}{'&' if '?' in path else '?'}{one.query}"
    body = filled(one.body, words)
    if one.verb in ("create", "apply") and isinstance(body, dict):
        naming = {"name": name} if name else {"generateName": filled(one.generate_name, words)}
        metadata = {**naming, **({"namespace": one.namespace} if one.namespace else {}), **body.get("metadata", {})}
        return path, {**body, "apiVersion": version, "kind": kind, "metadata": metadata}
    if one.verb == "update":
        return path, _merged(town.administrator.request("GET", item), body)
    return path, body


def _merged(before: Any, patch: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(patch, dict):
        return patch
    return {**before, **{key: _merged(before.get(key), value) for key, value in patch.items()}}


def _impersonate(town: RightsTown, identity: Identity, one: Try) -> Answer:
    """List beads as somebody else; no client of ours can, so by hand."""
    client = town.clients[identity.name]
    user = f"system:serviceaccount:{one.namespace}:{one.name}" if one.resource == "serviceaccounts" else one.name
    headers = {"Authorization": f"Bearer {town.tokens.get(identity.name, '')}", "Impersonate-User": user}
    if one.resource == "groups":
        headers |= {"Impersonate-User": "admin", "Impersonate-Group": one.name}
    request = urllib.request.Request(
        f"{client.configuration.server}/apis/gastown.dev/v1alpha1/namespaces/town/beads?limit=1", headers=headers
    )
    try:
        with urllib.request.urlopen(request, timeout=30, context=client.configuration.ssl_context()) as answer:
            return Answer(int(answer.status), value=json.load(answer))
    except urllib.error.HTTPError as error:
        told = json.load(error)
        return Answer(error.code, str(told.get("message", "")))

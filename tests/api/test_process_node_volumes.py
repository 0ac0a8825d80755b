"""What a container of the process node sees: volumes, environment, tokens, and nothing of the user's."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

import pytest

from gastown.local.node.addresses import pod_address
from support.cluster import ROOT
from support.eventually import eventually
from support.process_node import (
    FOREVER,
    STORAGE_CLASS,
    ProcessNode,
    container_status,
    pod_object,
    terminated,
)

pytestmark = pytest.mark.cluster


def test_config_maps_and_secrets_appear_as_files_and_variables(node: ProcessNode, space: str) -> None:
    node.cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf", "namespace": space}, "data": {"a": "alpha", "b": "beta"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": space}, "stringData": {"password": "hunter2"}},
    )
    show = "cat /etc/conf/x/renamed /etc/key/password; ls /etc/conf; stat -L -c %a /etc/key/password"
    script = f"{show}; echo $A $PASSWORD $C_b; touch /etc/conf/new"
    node.run(
        space,
        "reader",
        script,
        wait="Failed",
        volumes=[
            {"name": "conf", "configMap": {"name": "conf", "items": [{"key": "a", "path": "x/renamed"}]}},
            {"name": "key", "secret": {"secretName": "key", "defaultMode": 0o400}},
        ],
        container={
            "volumeMounts": [{"name": "conf", "mountPath": "/etc/conf"}, {"name": "key", "mountPath": "/etc/key"}],
            "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "key", "key": "password"}}},
                {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "nowhere", "key": "k", "optional": True}}},
            ],
            "envFrom": [{"prefix": "C_", "configMapRef": {"name": "conf"}}],
        },
    )
    output = node.logs(space, "reader")
    assert output.startswith("alphahunter2x\n400\nalpha hunter2 beta\n"), output
    assert "Read-only file system" in output


def test_a_config_map_that_comes_late_is_waited_for(node: ProcessNode, space: str) -> None:
    volumes = [{"name": "conf", "configMap": {"name": "late"}}]
    node.run(space, "waiting", "cat /conf/a", volumes=volumes, container={"volumeMounts": [{"name": "conf", "mountPath": "/conf"}]})

    def message() -> str:
        return str(container_status(node.pod(space, "waiting"))["state"]["waiting"].get("message", ""))

    assert 'configmap "late" not found' in eventually(message)
    node.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": space}, "data": {"a": "here"}})
    node.wait_phase(space, "waiting", "Succeeded")
    assert node.logs(space, "waiting") == "here"


def test_a_missing_secret_key_is_a_config_error_that_names_it(node: ProcessNode, space: str) -> None:
    env = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "k"}}}]
    node.run(space, "keyless", "true", container={"env": env})
    waiting = eventually(lambda: container_status(node.pod(space, "keyless"))["state"]["waiting"])
    assert waiting["reason"] == "CreateContainerConfigError"
    assert 'secret "absent" not found' in waiting["message"]


def test_a_pod_is_told_its_own_facts(node: ProcessNode, space: str) -> None:
    def field(path: str) -> dict[str, object]:
        return {"fieldRef": {"fieldPath": path}}

    paths = {
        "NAME": "metadata.name",
        "SPACE": "metadata.namespace",
        "LABEL": "metadata.labels['color']",
        "IP": "status.podIP",
        "NODE": "spec.nodeName",
    }
    env = [{"name": name, "valueFrom": field(path)} for name, path in paths.items()]
    env += [
        {"name": "URL", "value": "http://$(IP):80/$(NAME)/$$(NAME)/$(UNKNOWN)"},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "requests.cpu", "divisor": "1m"}},
    ]
    node.run(
        space,
        "informed",
        "echo $NAME $SPACE $LABEL $IP $NODE $MEMORY $(hostname); echo $URL $1; cat /info/labels; echo; cat /info/cpu",
        wait="Succeeded",
        labels={"color": "red"},
        volumes=[{"name": "info", "downwardAPI": {"items": items}}],
        container={
            "args": ["sh", "arg-of-$(NAME)"],
            "env": env,
            "volumeMounts": [{"name": "info", "mountPath": "/info"}],
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}},
        },
    )
    address = pod_address(node.name, space, "informed")
    lines = node.logs(space, "informed").splitlines()
    assert lines[0] == f"informed {space} red {address} {node.name} 64 informed"
    assert lines[1] == f"http://{address}:80/informed/$(NAME)/$(UNKNOWN) arg-of-informed"
    assert lines[2:] == ['color="red"', "250"]


def test_sub_paths_show_a_part_and_never_leave_the_volume(node: ProcessNode, space: str) -> None:
    volumes = [{"name": "work", "emptyDir": {}}]
    mount = {"name": "work", "mountPath": "/part", "subPath": "inside/deep"}
    before = [
        {
            "name": "fill",
            "image": "none",
            "command": ["sh", "-c", "ln -s /etc /w/escape"],
            "volumeMounts": [{"name": "work", "mountPath": "/w"}],
        }
    ]
    node.run(space, "part", "touch /part/file; ls /part", wait="Succeeded", volumes=volumes, container={"volumeMounts": [mount]})
    assert node.logs(space, "part") == "file\n"
    escape = {"name": "work", "mountPath": "/part", "subPath": "escape"}
    node.run(space, "escaping", "cat /part/passwd", initContainers=before, volumes=volumes, container={"volumeMounts": [escape]})

    def message() -> str:
        return str(container_status(node.pod(space, "escaping"))["state"]["waiting"].get("message", ""))

    assert "leaves volume" in eventually(message)


def test_memory_volumes_are_on_a_memory_file_system(node: ProcessNode, space: str) -> None:
    volumes = [{"name": "fast", "emptyDir": {"medium": "Memory"}}]
    node.run(
        space,
        "fast",
        "stat -f -c %T /fast",
        wait="Succeeded",
        volumes=volumes,
        container={"volumeMounts": [{"name": "fast", "mountPath": "/fast"}]},
    )
    assert node.logs(space, "fast") == "tmpfs\n"


def test_host_paths_are_shown_and_checked(node: ProcessNode, space: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    mount = {"volumeMounts": [{"name": "host", "mountPath": "/host", "readOnly": True}]}
    volumes = [{"name": "host", "hostPath": {"path": str(tmp_path), "type": "Directory"}}]
    node.run(space, "host", "cat /host/file; touch /host/new", wait="Failed", volumes=volumes, container=mount)
    assert "from the host" in node.logs(space, "host").splitlines()
    assert not (tmp_path / "new").exists()


def _claim(name: str, namespace: str) -> dict[str, object]:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": STORAGE_CLASS, "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_a_stateful_set_keeps_its_data_when_its_pod_is_deleted(node: ProcessNode, space: str) -> None:
    container = {
        "name": "main",
        "image": "none",
        "command": ["sh", "-c", f"echo $(hostname) >> /data/starts; {FOREVER}"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "readinessProbe": {"exec": {"command": ["test", "-s", "/data/starts"]}},
    }
    claim = {**_claim("data", space), "metadata": {"name": "data"}}
    spec = {
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]}},
        "volumeClaimTemplates": [claim],
    }
    node.cluster.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": space}, "spec": spec})
    node.cluster.kubectl("rollout", "status", "statefulset/db", "-n", space, "--timeout=30s")
    first = node.pod(space, "db-0")["metadata"]["uid"]
    node.cluster.kubectl("delete", "pod", "db-0", "-n", space, "--wait=true")

    def replaced() -> bool:
        pod = node.pod(space, "db-0") if node.cluster.kubectl("get", "pod", "db-0", "-n", space, check=False).returncode == 0 else None
        return pod is not None and pod["metadata"]["uid"] != first and bool(container_status(pod)["ready"])

    eventually(replaced, 60)
    assert node.cluster.kubectl("exec", "-n", space, "db-0", "--", "cat", "/data/starts").stdout == "db-0\ndb-0\n"


def test_termination_messages_come_from_the_file_or_the_end_of_the_log(node: ProcessNode, space: str) -> None:
    pod = node.run(space, "told", "printf 'all is %s' well > /dev/termination-log", wait="Succeeded")
    assert terminated(pod)["message"] == "all is well"
    script = "for n in $(seq 200); do echo line $n; done; exit 1"
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    last = terminated(node.run(space, "from-log", script, wait="Failed", container=policy))["message"]
    assert last.endswith("line 200\n")
    assert last.startswith("line 121\n")
    assert "message" not in terminated(node.run(space, "no-fallback", script, wait="Failed"))
    assert "message" not in terminated(node.run(space, "no-error", "echo fine", wait="Succeeded", container=policy))


def test_a_long_termination_message_is_cut_without_breaking_the_status(node: ProcessNode, space: str) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do printf 'ää' >> /workspace/note; i=$((i+1)); done"
    container = {"terminationMessagePath": "/workspace/note", "volumeMounts": [{"name": "work", "mountPath": "/workspace"}]}
    pod = node.run(space, "long", script, wait="Succeeded", volumes=[{"name": "work", "emptyDir": {}}], container=container)
    assert terminated(pod)["message"] == "ä" * 2048


def test_the_api_token_is_mounted_and_good(node: ProcessNode, space: str) -> None:
    script = (
        "import json, os, ssl, urllib.request as r\n"
        "d = '/var/run/secrets/kubernetes.io/serviceaccount/'\n"
        "url = f\"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
        '/apis/authentication.k8s.io/v1/selfsubjectreviews"\n'
        "head = {'Authorization': 'Bearer ' + open(d + 'token').read(), 'Content-Type': 'application/json'}\n"
        'body = b\'{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}\'\n'
        "context = ssl.create_default_context(cafile=d + 'ca.crt')\n"
        "user = json.load(r.urlopen(r.Request(url, body, head), context=context))['status']['userInfo']\n"
        "print(user['username'], open(d + 'namespace').read())\n"
    )
    node.run(space, "client", wait="Succeeded", automountServiceAccountToken=True, container={"command": ["python", "-c", script]})
    assert node.logs(space, "client") == f"system:serviceaccount:{space}:default {space}\n"


def test_a_token_for_an_audience_dies_with_its_pod(node: ProcessNode, space: str) -> None:
    source = {"serviceAccountToken": {"path": "token", "audience": "gastown-repo", "expirationSeconds": 600}}
    node.run(
        space,
        "holder",
        f"cat /var/run/secrets/gastown/repo/token; echo; {FOREVER}",
        wait="Running",
        terminationGracePeriodSeconds=1,
        volumes=[{"name": "repo", "projected": {"sources": [source]}}],
        container={"volumeMounts": [{"name": "repo", "mountPath": "/var/run/secrets/gastown/repo"}]},
    )
    token = eventually(lambda: node.logs(space, "holder").strip())
    payload = token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["aud"] == ["gastown-repo"]

    def is_accepted() -> bool:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": ["gastown-repo"]}}
        answer = node.cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)).stdout
        return bool(json.loads(answer)["status"].get("authenticated"))

    assert is_accepted()
    node.cluster.kubectl("delete", "pod", "holder", "-n", space, "--wait=true")
    # The API server itself remembers a good token for 10 s.
    eventually(lambda: not is_accepted(), 60, "the token is refused")


def visible_below(hidden: Path) -> set[str]:
    """What a hidden folder has to show, read-only: the way to the code and its Python, wherever the checkout lies."""
    needed = (Path(sys.prefix), Path(sys.base_prefix), ROOT)
    return {path.relative_to(hidden).parts[0] for path in needed if path.is_relative_to(hidden)}


def test_the_home_and_the_town_are_hidden_and_tmp_is_private(node: ProcessNode, space: str) -> None:
    home = Path.home()
    node.run(space, "neighbour", f"touch /tmp/mine /var/tmp/mine; {FOREVER}", wait="Running", terminationGracePeriodSeconds=1)
    town = node.cluster.directory.root
    look = f"ls -A {home} 2>/dev/null; echo --; ls -A /tmp /var/tmp; echo --; ls {node.state} {town}"
    node.run(space, "curious", f"{look}; touch {home}/x; touch /tmp/x && echo writable", wait="Succeeded")
    shown, temporary, rest = node.logs(space, "curious").split("--\n")
    assert set(shown.split()) <= visible_below(home)
    assert set(temporary.split()) <= {"/tmp:", "/var/tmp:"} | visible_below(Path("/tmp")) | visible_below(Path("/var/tmp"))
    assert "kubeconfigs" not in rest
    assert "writable" in rest
    assert not (home / "x").exists()


def test_the_rest_of_the_machine_is_read_only_and_other_processes_are_hidden(node: ProcessNode, space: str) -> None:
    script = f"touch /usr/x /etc/x {Path(sys.prefix)}/x; echo I am $$$$; ls -d /proc/{os.getpid()}; kill -0 {os.getpid()}; cat /proc/1/comm"
    node.run(space, "prisoner", f"{script}; true", wait="Succeeded")
    output = node.logs(space, "prisoner")
    assert output.count("Read-only file system") == 3, output
    assert "I am 1\n" in output
    assert "No such process" in output


def test_service_names_lead_to_the_pod_behind_them(node: ProcessNode, space: str) -> None:
    node.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "repo", "namespace": space},
            "spec": {"selector": {"app": "repo"}, "ports": [{"port": 80, "targetPort": 8080}]},
        }
    )
    node.cluster.apply(
        pod_object(
            space,
            "caller",
            f"while ! grep -q {pod_address(node.name, space, 'server')} /etc/hosts; do sleep 0.1; done; grep repo /etc/hosts",
        )
    )
    node.wait_phase(space, "caller", "Running")
    node.run(space, "server", FOREVER, wait="Running", labels={"app": "repo"}, terminationGracePeriodSeconds=1)
    node.wait_phase(space, "caller", "Succeeded")
    line = node.logs(space, "caller").split()
    assert line == [
        pod_address(node.name, space, "server"),
        "repo",
        f"repo.{space}",
        f"repo.{space}.svc",
        f"repo.{space}.svc.cluster.local",
    ]
    node.run(space, "late-caller", "echo $REPO_SERVICE_HOST:$REPO_SERVICE_PORT", wait="Succeeded")
    assert node.logs(space, "late-caller") == f"{pod_address(node.name, space, 'server')}:8080\n"

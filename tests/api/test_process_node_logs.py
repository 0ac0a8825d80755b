"""kubectl logs and kubectl exec against the process node, and who may not use its server directly."""

from __future__ import annotations

import os
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest

from gastown.local.certificates import Certificates
from support.eventually import eventually
from support.process_node import FOREVER, ProcessNode

pytestmark = pytest.mark.cluster


def test_followed_logs_arrive_while_the_container_runs_and_end_with_it(node: ProcessNode, space: str) -> None:
    volumes = [{"name": "work", "emptyDir": {}}]
    script = "echo one; while ! test -e /workspace/go; do sleep 0.05; done; echo two"
    container = {"volumeMounts": [{"name": "work", "mountPath": "/workspace"}]}
    node.run(space, "talker", script, wait="Running", volumes=volumes, container=container)
    follower = node.follow_logs(space, "talker")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "one\n"
    node.cluster.kubectl("exec", "-n", space, "talker", "--", "touch", "/workspace/go")
    rest, _ = follower.communicate(timeout=15)
    assert rest == "two\n"


def test_log_options_cut_the_log(node: ProcessNode, space: str) -> None:
    node.run(space, "lines", "for n in $(seq 1 500); do echo line $n; done; printf unfinished", wait="Succeeded")
    assert node.logs(space, "lines").count("\n") == 500
    assert node.logs(space, "lines", "--tail=2") == "line 500\nunfinished"
    assert node.logs(space, "lines", "--tail=0") == ""
    assert node.logs(space, "lines", "--limit-bytes=10") == "line 1\nlin"
    assert node.logs(space, "lines", "--since=1h").count("\n") == 500
    stamped = node.logs(space, "lines", "--timestamps", "--tail=2").splitlines()[0]
    assert stamped.endswith("Z line 500")


def test_very_long_lines_and_odd_bytes_survive(node: ProcessNode, space: str) -> None:
    script = "import sys; sys.stdout.buffer.write(b'x' * 100_000 + b'\\r\\0\\xff\\n' + b'after\\n')"
    node.run(space, "odd", wait="Succeeded", container={"command": ["python", "-c", script]})
    answer = node.logs_bytes(space, "odd")
    assert answer == b"x" * 100_000 + b"\r\0\xff\nafter\n"
    assert node.logs(space, "odd", "--tail=1") == "after\n"


def test_a_rotated_log_keeps_its_newest_part_and_followers_miss_nothing(node: ProcessNode, space: str) -> None:
    volumes = [{"name": "work", "emptyDir": {}}]
    container = {
        "command": [
            "python",
            "-c",
            "import os, time\nwhile not os.path.exists('/workspace/go'): time.sleep(0.02)\nfor n in range(300_000): print('%060d' % n)\n",
        ],
        "volumeMounts": [{"name": "work", "mountPath": "/workspace"}],
    }
    node.run(space, "verbose", wait="Running", volumes=volumes, container=container)
    follower = node.follow_logs(space, "verbose")
    node.cluster.kubectl("exec", "-n", space, "verbose", "--", "touch", "/workspace/go")
    node.wait_phase(space, "verbose", "Succeeded", 60.0)
    follower.communicate(timeout=60)
    assert node.logs(space, "verbose", "--tail=1") == f"{299_999:060d}\n"
    kept = node.logs(space, "verbose").split()
    assert len(kept) > 50_000
    assert kept == [f"{n:060d}" for n in range(300_000 - len(kept), 300_000)]


def test_logs_of_what_has_not_started_say_so(node: ProcessNode, space: str) -> None:
    node.run(space, "idle", container={"command": []})
    eventually(lambda: node.pod(space, "idle")["status"].get("containerStatuses"))
    answer = node.cluster.kubectl("logs", "-n", space, "idle", check=False)
    assert answer.returncode != 0
    assert "waiting to start" in answer.stderr
    assert "previous" in node.cluster.kubectl("logs", "-n", space, "idle", "--previous", check=False).stderr


def test_exec_carries_output_errors_input_and_exit_code(node: ProcessNode, space: str) -> None:
    node.run(space, "open", FOREVER, wait="Running", container={"env": [{"name": "COLOR", "value": "red"}]})
    answer = node.cluster.kubectl("exec", "-n", space, "open", "--", "sh", "-c", "echo out $COLOR $$; echo err >&2; exit 7", check=False)
    assert answer.returncode == 7
    assert answer.stdout.startswith("out red ")
    assert answer.stderr.startswith("err\n")
    echoed = node.cluster.kubectl("exec", "-i", "-n", space, "open", "--", "cat", stdin="to and fro\n" * 10_000)
    assert echoed.stdout == "to and fro\n" * 10_000
    assert node.cluster.kubectl("exec", "-n", space, "open", "--", "no-such-program", check=False).returncode != 0


def test_exec_with_a_terminal_is_interactive(node: ProcessNode, space: str) -> None:
    node.run(space, "shell", FOREVER, wait="Running")
    kubectl = [str(node.cluster.programs.kubectl), f"--kubeconfig={node.cluster.kubeconfig}"]
    master, slave = os.openpty()
    process = subprocess.Popen([*kubectl, "exec", "-it", "-n", space, "shell", "--", "sh"], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    os.write(master, b"test -t 0 && test -t 1 && echo is a$((0))terminal; hostname; exit 5\n")
    output = b""
    while chunk := _read_terminal(master):
        output += chunk
    assert process.wait(timeout=20) == 5
    assert b"is a0terminal" in output
    os.close(master)


def _read_terminal(master: int) -> bytes:
    try:
        return os.read(master, 65_536)
    except OSError:  # its last user is gone
        return b""


def test_exec_stays_inside_the_sandbox(node: ProcessNode, space: str) -> None:
    node.run(space, "boxed", FOREVER, wait="Running")
    output = node.cluster.kubectl(
        "exec", "-n", space, "boxed", "--", "sh", "-c", "cat /proc/1/comm; touch /etc/x; hostname; grep CapEff /proc/self/status; true"
    )
    assert output.stdout.startswith("sh\nboxed\n")
    # Root keeps CAP_SETFCAP (bit 31), without which it could not make user namespaces of its own.
    assert int(output.stdout.split()[-1], 16) & ~(1 << 31) == 0
    assert "Read-only file system" in output.stderr


def test_only_the_api_server_may_ask_the_node(node: ProcessNode, space: str) -> None:
    node.run(space, "private", "echo secret", wait="Succeeded")
    port = node.cluster.get("node", node.name, "default")["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    certificates = Certificates(node.cluster.directory.certificates)
    url = f"https://127.0.0.1:{port}/containerLogs/{space}/private/main"

    def ask(identity: str | None, path: str) -> bytes:
        context = ssl.create_default_context(cafile=str(certificates.cluster_authority.certificate))
        if identity is not None:
            pair = certificates.pair(identity)
            context.load_cert_chain(pair.certificate, pair.key)
        with urllib.request.urlopen(path, context=context, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    assert ask("kubelet-client", url) == b"secret\n"
    assert ask("admin", f"https://127.0.0.1:{port}/healthz") == b"ok"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask("volume-provisioner", url)
    with pytest.raises((OSError, ssl.SSLError)):
        ask(None, url)

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gastown.local.binaries import Programs
from gastown.local.certificates import ensure_certificates
from gastown.local.chart import chart_digest, chart_values, default_chart
from gastown.local.control_plane import ControlPlane
from gastown.local.node.config import read_config
from gastown.local.node_process import node_configuration
from gastown.local.town_directory import TownDirectory
from support.cluster import ROOT, SMALL_CHART


@pytest.fixture
def directory(tmp_path: Path) -> TownDirectory:
    made = TownDirectory("test", tmp_path / "town")
    made.create()
    return made


def test_the_values_of_a_local_town_fit_the_chart_s_schema(directory: TownDirectory) -> None:
    schema: dict[str, Any] = json.loads((default_chart() / "values.schema.json").read_text())
    jsonschema.validate(chart_values(directory, "town"), schema)


def test_the_chart_is_found_beside_the_code() -> None:
    assert default_chart() == ROOT / "charts" / "gastown"


@pytest.mark.parametrize("change", ["a file's content", "a file's name", "a new file", "a value"])
def test_every_change_of_chart_or_values_is_noticed(tmp_path: Path, change: str) -> None:
    chart, values = tmp_path / "chart", {"a": 1}
    shutil.copytree(SMALL_CHART, chart)
    before = chart_digest(chart, values)
    assert chart_digest(chart, dict(values)) == before
    template = chart / "templates" / "all.yaml"
    if change == "a file's content":
        template.write_text(template.read_text() + "# more\n")
    elif change == "a file's name":
        template.rename(template.with_name("other.yaml"))
    elif change == "a new file":
        (chart / "NOTES.txt").touch()
    else:
        values["a"] = 2
    assert chart_digest(chart, values) != before


def test_the_node_accepts_the_configuration_that_up_writes(directory: TownDirectory) -> None:
    certificates = ensure_certificates(directory.certificates, directory.node_name, "10.96.0.1")
    control_plane = ControlPlane(
        server="https://127.0.0.1:1",
        certificates=certificates,
        kubeconfig=directory.admin_kubeconfig,
        audit_log=directory.logs / "audit.log",
        was_started=True,
    )
    tool = Path("/opt/tools/program")
    programs = Programs(tool, tool, tool, tool, kubectl=tool, helm=tool)
    file = directory.configuration / "node.json"
    file.write_text(json.dumps(node_configuration(directory, control_plane, programs)))
    config = read_config(file)
    assert config.node_name == directory.node_name
    assert config.path_entries == (str(Path(sys.prefix) / "bin"), "/opt/tools")
    assert {str(ROOT / "operator"), str(ROOT / "gitops"), sys.base_prefix} <= set(config.read_only_paths)
    assert {str(directory.root), str(Path.home())} <= set(config.masked_paths)
    for path in (config.client_key_file, config.serving_key_file, config.provisioner_key_file, config.ca_file):
        assert Path(path).exists()

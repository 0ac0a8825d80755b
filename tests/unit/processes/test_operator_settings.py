"""What the operator is told by its environment, and what it says when that is odd."""

from __future__ import annotations

import pytest

from gastown.controllers.control_loop import Settings
from gastown.decide.witness import Patience
from gastown.kube.configuration import ConfigurationError
from gastown.processes.operator import OperatorSettings

COMPLETE = {
    "GASTOWN_TOWN_NAMESPACES": "town, second",
    "GASTOWN_REPO_URL": "http://repo:8080/",
    "GASTOWN_SESSION_IMAGE": "gastown/session:1",
}


def test_the_chart_sets_namespaces_address_and_image() -> None:
    told = OperatorSettings.from_environment({**COMPLETE, "GASTOWN_LISTEN_HOST": "127.64.0.7", "GASTOWN_HEALTH_PORT": "9000"})
    assert told == OperatorSettings(("town", "second"), Settings("http://repo:8080", "gastown/session:1"), "127.64.0.7", 9000)


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        OperatorSettings.from_environment({**COMPLETE, name: ""})


def test_a_port_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="GASTOWN_HEALTH_PORT is 'http'"):
        OperatorSettings.from_environment({**COMPLETE, "GASTOWN_HEALTH_PORT": "http"})


def test_the_patience_of_the_witness_is_the_default_where_nothing_is_said() -> None:
    told = OperatorSettings.from_environment({**COMPLETE, "GASTOWN_SILENT_SECONDS": "3", "GASTOWN_STILL_SECONDS": "0"})
    assert told.loop.patience == Patience(silent=3.0, still=0.0)


@pytest.mark.parametrize(
    ("name", "text"), [("SILENT", "soon"), ("SILENT", "0"), ("ANSWER", "-1"), ("START", "nan"), ("STILL", "-1"), ("SILENT", "inf")]
)
def test_a_patience_that_is_no_number_of_seconds_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"GASTOWN_{name}_SECONDS is '{text}'"):
        OperatorSettings.from_environment({**COMPLETE, f"GASTOWN_{name}_SECONDS": text})

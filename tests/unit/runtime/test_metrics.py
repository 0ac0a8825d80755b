"""The Prometheus text format."""

from __future__ import annotations

import pytest

from gastown.runtime.metrics import Registry


def test_counters_gauges_and_histograms_are_told_with_help_type_and_labels() -> None:
    registry = Registry("town")
    registry.counter("writes_total", "Writes.", ("kind",)).add("Bead", amount=2)
    registry.gauge("depth", "Depth.").set(1.5)
    seconds = registry.histogram("seconds", "Time.", ("verb",), bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        seconds.observe(value, "get")
    assert registry.text() == (
        "# HELP town_depth Depth.\n"
        "# TYPE town_depth gauge\n"
        "town_depth 1.5\n"
        "# HELP town_seconds Time.\n"
        "# TYPE town_seconds histogram\n"
        'town_seconds_bucket{verb="get",le="0.1"} 2\n'
        'town_seconds_bucket{verb="get",le="1"} 3\n'
        'town_seconds_bucket{verb="get",le="+Inf"} 4\n'
        'town_seconds_sum{verb="get"} 7.65\n'
        'town_seconds_count{verb="get"} 4\n'
        "# HELP town_writes_total Writes.\n"
        "# TYPE town_writes_total counter\n"
        'town_writes_total{kind="Bead"} 2\n'
    )


def test_odd_characters_in_a_label_are_escaped() -> None:
    registry = Registry("town")
    registry.counter("odd_total", "Two\nlines \\ one.", ("name",)).add('a"b\\c\nd')
    assert '{name="a\\"b\\\\c\\nd"} 1' in registry.text()
    assert "# HELP town_odd_total Two\\nlines \\\\ one.\n" in registry.text()


def test_a_metric_is_the_same_for_all_who_ask_for_it() -> None:
    registry = Registry("town")
    assert registry.counter("a_total", "A.") is registry.counter("a_total", "A.")
    with pytest.raises(ValueError, match="a_total is registered as counter"):
        registry.gauge("a_total", "A.")


def test_collected_values_are_asked_for_at_each_scrape() -> None:
    registry = Registry("town")
    now: dict[tuple[str, ...], float] = {("beads",): 1.0}
    registry.gauge("held", "Held.", ("kind",), collect=lambda: now)
    assert 'town_held{kind="beads"} 1\n' in registry.text()
    now["beads",] = 2.0
    assert 'town_held{kind="beads"} 2\n' in registry.text()


def test_all_metrics_can_be_listed_with_their_meaning() -> None:
    registry = Registry("town")
    registry.counter("a_total", "Counts a.")
    assert registry.names() == {"town_a_total": "Counts a."}

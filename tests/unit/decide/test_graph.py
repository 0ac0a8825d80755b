"""Rings and layers of names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gastown.decide import graph

NAMES = st.integers(0, 12).map(lambda number: f"n{number}")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=4), max_size=12)


def test_a_diamond_has_three_layers() -> None:
    assert graph.layers({"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}) == [["a"], ["b", "c"], ["d"]]


def test_a_ring_is_given_in_its_order() -> None:
    assert graph.find_ring({"a": ["b"], "b": ["c"], "c": ["b"]}) == ("b", "c")
    assert graph.find_ring({"a": ["b"], "b": []}) == ()


def test_what_is_behind_a_ring_is_in_no_layer() -> None:
    assert graph.layers({"a": ["b"], "b": ["a"], "c": ["a"], "d": []}) == [["d"]]


def test_a_ring_through_a_name_is_found_within_the_limit() -> None:
    edges = {f"n{number}": [f"n{(number + 1) % 10}"] for number in range(10)}
    assert graph.ring_through("n3", edges.__getitem__, limit=20)[:2] == ("n3", "n4")
    assert graph.ring_through("n3", edges.__getitem__, limit=5) == ()


@given(GRAPHS)
def test_layers_come_in_order_and_hold_each_name_once(edges: dict[str, list[str]]) -> None:
    waves = graph.layers(edges)
    position = {name: number for number, wave in enumerate(waves) for name in wave}
    assert len(position) == sum(map(len, waves))
    for name, number in position.items():
        assert all(position[other] < number for other in edges[name] if other in edges)


@given(GRAPHS)
def test_a_graph_has_either_a_ring_or_all_names_in_layers(edges: dict[str, list[str]]) -> None:
    ring = graph.find_ring(edges)
    assert bool(ring) == (sum(map(len, graph.layers(edges))) < len(edges))
    for name, following in zip(ring, (*ring[1:], *ring[:1]), strict=True):
        assert following in edges[name]
    if ring:
        assert graph.ring_through(ring[0], lambda name: edges.get(name, []), limit=100)

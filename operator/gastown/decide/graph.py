"""Directed graphs of names: rings and layers. Pure; used by readiness's wiring for beads and by convoy for templates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

# Of a ring so many names are told at each end: two readers of a condition have to look at all of them.
_NAMED_AT_EACH_END = 10
# A name may wait for hundreds; so many edges are looked at for each name that may be reached.
_EDGES_PER_NAME = 16


def ring_through(start: str, followers: Callable[[str], Iterable[str]], limit: int) -> tuple[str, ...]:
    """A ring through `start`, in order and without repeating it; () if there is none near by.

    Args:
        followers: What a name waits for.
        limit: Names reached at most; edges are looked at 16 times as many.
    """
    came_from: dict[str, str] = {}
    queue = [start]
    edges = 0
    for name in queue:  # grows while it is walked
        for follower in followers(name):
            edges += 1
            if follower == start:
                return _path(start, name, came_from)
            if edges > limit * _EDGES_PER_NAME:
                return ()
            if follower not in came_from and len(came_from) < limit:
                came_from[follower] = name
                queue.append(follower)
    return ()


def ring_text(ring: Sequence[str]) -> str:
    """The ring for people, back to its first name; the middle of a long one is only counted."""
    left_out = len(ring) - 2 * _NAMED_AT_EACH_END
    if left_out > 0:
        ring = (*ring[:_NAMED_AT_EACH_END], f"({left_out} more)", *ring[-_NAMED_AT_EACH_END:])
    return " -> ".join((*ring, ring[0]))


def find_ring(edges: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Some ring of the graph, in order; () if it has none."""
    return layers_or_ring(edges)[1]


def layers_or_ring(edges: Mapping[str, Sequence[str]]) -> tuple[list[list[str]], tuple[str, ...]]:
    """The names in waves, as `layers` has them, and some ring of the graph; () if it has none.

    Args:
        edges: Name -> what it waits for; names that are no key wait for nothing.
    """
    waves, rest = _peeled(edges)
    if not rest:
        return waves, ()
    # Every name that is left waits for another that is left, so walking on must come around.
    name = min(rest)
    seen: dict[str, int] = {}
    path: list[str] = []
    while name not in seen:
        seen[name] = len(path)
        path.append(name)
        name = next(follower for follower in edges[name] if follower in rest)
    return waves, tuple(path[seen[name] :])


def layers(edges: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Names in waves: each waits only for names of earlier waves. Names in rings, and those behind them, are left out."""
    return _peeled(edges)[0]


def _peeled(edges: Mapping[str, Sequence[str]]) -> tuple[list[list[str]], set[str]]:
    """Waves, and the names that are in a ring or wait for one."""
    waits: dict[str, int] = {}
    waited_by: dict[str, list[str]] = {name: [] for name in edges}
    for name, followers in edges.items():
        present = edges.keys() & followers
        waits[name] = len(present)
        for follower in present:
            waited_by[follower].append(name)
    waves: list[list[str]] = []
    wave = sorted(name for name, count in waits.items() if not count)
    while wave:
        waves.append(wave)
        freed = []
        for name in wave:
            for waiting in waited_by[name]:
                waits[waiting] -= 1
                if not waits[waiting]:
                    freed.append(waiting)
        wave = sorted(freed)
    done = {name for wave in waves for name in wave}
    return waves, set(edges) - done


def _path(start: str, end: str, came_from: Mapping[str, str]) -> tuple[str, ...]:
    path = [end]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return tuple(reversed(path))

"""Directed graphs of names: rings and layers. Pure; used by readiness's wiring for beads and by convoy for templates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence


def ring_through(start: str, followers: Callable[[str], Iterable[str]], limit: int) -> tuple[str, ...]:
    """A ring through `start`, in order and without repeating it; () if there is none among the first `limit` names reached.

    Args:
        followers: What a name waits for.
    """
    came_from: dict[str, str] = {}
    queue = [start]
    for name in queue:  # grows while it is walked
        for follower in followers(name):
            if follower == start:
                return _path(start, name, came_from)
            if follower not in came_from and len(came_from) < limit:
                came_from[follower] = name
                queue.append(follower)
    return ()


def find_ring(edges: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Some ring of the graph, in order; () if it has none.

    Args:
        edges: Name -> what it waits for; names that are no key wait for nothing.
    """
    rest = _peeled(edges)[1]
    if not rest:
        return ()
    # Every name that is left waits for another that is left, so walking on must come around.
    name = min(rest)
    seen: dict[str, int] = {}
    path: list[str] = []
    while name not in seen:
        seen[name] = len(path)
        path.append(name)
        name = next(follower for follower in edges[name] if follower in rest)
    return tuple(path[seen[name] :])


def layers(edges: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Names in waves: each waits only for names of earlier waves. Names in rings, and those behind them, are left out."""
    return _peeled(edges)[0]


def _peeled(edges: Mapping[str, Sequence[str]]) -> tuple[list[list[str]], set[str]]:
    """Waves, and the names that are in a ring or wait for one."""
    waits = {name: {follower for follower in followers if follower in edges} for name, followers in edges.items()}
    waited_by: dict[str, list[str]] = {name: [] for name in edges}
    for name, followers in waits.items():
        for follower in followers:
            waited_by[follower].append(name)
    waves: list[list[str]] = []
    wave = sorted(name for name, followers in waits.items() if not followers)
    while wave:
        waves.append(wave)
        freed = set()
        for name in wave:
            for waiting in waited_by[name]:
                waits[waiting].discard(name)
                if not waits[waiting]:
                    freed.add(waiting)
        wave = sorted(freed)
    done = {name for wave in waves for name in wave}
    return waves, set(edges) - done


def _path(start: str, end: str, came_from: Mapping[str, str]) -> tuple[str, ...]:
    path = [end]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return tuple(reversed(path))

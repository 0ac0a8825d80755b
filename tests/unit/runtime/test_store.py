"""The store: newest version wins, whoever tells it and in whatever order."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gastown.api.bead import Bead, BeadSpec
from gastown.api.kinds import BEAD
from gastown.api.meta import ObjectMeta
from gastown.runtime.store import Change, Store

TOWN = "town"


def bead(name: str, version: int, assignee: str = "", namespace: str = TOWN) -> Bead:
    return Bead(metadata=ObjectMeta(namespace=namespace, name=name, resourceVersion=str(version)), spec=BeadSpec(assignee=assignee))


def bead_store() -> Store[Bead]:
    return Store(BEAD, {"assignee": lambda item: [item.spec.assignee] if item.spec.assignee else []})


def test_an_older_version_that_arrives_late_is_ignored() -> None:
    store = bead_store()
    store.put(bead("gp-1", 5, "toast"))
    assert store.put(bead("gp-1", 4)) is None
    assert store.find(TOWN, "gp-1") == bead("gp-1", 5, "toast")


def test_an_index_follows_its_object() -> None:
    store = bead_store()
    store.put(bead("gp-2", 1, "toast"))
    store.put(bead("gp-1", 2, "toast"))
    assert [item.metadata.name for item in store.by("assignee", "toast")] == ["gp-1", "gp-2"]
    store.put(bead("gp-2", 3, "nux"))
    store.remove(TOWN, "gp-1", "4")
    assert store.by("assignee", "toast") == []
    assert [item.metadata.name for item in store.by("assignee", "nux")] == ["gp-2"]


def test_a_deleted_object_is_not_brought_back_by_the_late_answer_to_a_write() -> None:
    store = bead_store()
    store.put(bead("gp-1", 1))
    store.remove(TOWN, "gp-1", "3")
    assert store.put(bead("gp-1", 2, "toast")) is None
    assert store.put(bead("gp-1", 4)) is not None


def test_a_late_deletion_does_not_touch_the_next_object_of_that_name() -> None:
    store = bead_store()
    store.put(bead("gp-1", 5))
    assert store.remove(TOWN, "gp-1", "4") is None
    assert len(store) == 1


def test_a_list_removes_ghosts_and_says_so() -> None:
    store = bead_store()
    store.put(bead("gp-1", 1))
    store.put(bead("gp-2", 2))
    changes = store.replace([bead("gp-2", 2), bead("gp-3", 4)], "5", TOWN)
    assert [(change.type, change.key[1]) for change in changes] == [("added", "gp-3"), ("deleted", "gp-1")]


def test_a_list_spares_what_was_written_after_it_was_taken() -> None:
    store = bead_store()
    store.put(bead("gp-1", 7))
    assert store.replace([], "5", TOWN) == []
    assert len(store) == 1


def test_a_list_of_one_namespace_leaves_the_others_alone() -> None:
    store = bead_store()
    store.put(bead("gp-1", 1, namespace="other"))
    store.replace([], "5", TOWN)
    assert len(store) == 1
    store.replace([], "5")
    assert len(store) == 0


def test_an_event_older_than_the_list_that_did_not_hold_its_object_is_ignored() -> None:
    store = bead_store()
    store.replace([], "10", TOWN)
    assert store.put(bead("gp-1", 9)) is None


def test_a_server_restored_from_a_backup_is_believed() -> None:
    store = bead_store()
    store.replace([bead("gp-1", 90), bead("gp-2", 95)], "100", TOWN)
    store.replace([bead("gp-1", 40, "toast")], "50", TOWN)
    assert store.all() == [bead("gp-1", 40, "toast")]
    assert store.put(bead("gp-2", 51)) is not None


def test_an_assumption_shows_until_a_newer_version_is_heard_of() -> None:
    store = bead_store()
    store.put(bead("gp-1", 1))
    store.assume(bead("gp-1", 1, "toast"), until=30)
    assert len(store.by("assignee", "toast")) == 1
    store.put(bead("gp-1", 2, "nux"))
    assert store.find(TOWN, "gp-1") == bead("gp-1", 2, "nux")
    assert store.by("assignee", "toast") == []


def test_an_assumption_that_nothing_confirms_expires() -> None:
    store = bead_store()
    store.put(bead("gp-1", 1))
    store.assume(bead("gp-1", 1, "toast"), until=30)
    assert store.expire(29) == []
    assert [change.type for change in store.expire(30)] == ["modified"]
    assert store.find(TOWN, "gp-1") == bead("gp-1", 1)


def test_an_assumption_is_not_a_version_the_server_told() -> None:
    store = bead_store()
    store.assume(bead("gp-1", 0, "toast"), until=30)
    assert store.version_of(TOWN, "gp-1") == 0
    assert [change.type for change in [store.retract(TOWN, "gp-1")] if change] == ["deleted"]


def test_a_listener_that_fails_does_not_keep_the_change_from_the_others() -> None:
    store = bead_store()
    heard: list[Change[Bead]] = []

    def broken(change: Change[Bead]) -> None:
        raise KeyError(change.key)

    store.subscribe(broken)
    store.subscribe(heard.append)
    store.put(bead("gp-1", 1))
    assert [change.type for change in heard] == ["added"]


def test_an_index_that_fails_on_one_object_does_not_hide_it() -> None:
    store: Store[Bead] = Store(BEAD, {"broken": lambda item: [item.metadata.labels["missing"]]})
    store.put(bead("gp-1", 1))
    assert store.find(TOWN, "gp-1") == bead("gp-1", 1)


NAMES = st.sampled_from(["gp-1", "gp-2", "gp-3"])
AGENTS = st.sampled_from(["", "toast", "nux"])


class StoreLaws(RuleBasedStateMachine):
    """A server that changes, and a store that hears of it late, twice, out of order, by watch, LIST and answers.

    The model keeps the newest fact per name: a bead, or None for "not there at that version".
    """

    def __init__(self) -> None:
        super().__init__()
        self.versions = itertools.count(1)
        self.version = 0
        self.server: dict[str, Bead] = {}
        self.events: list[tuple[str, Bead | int]] = []
        self.delivered = 0
        self.snapshots: list[tuple[int, list[Bead]]] = []
        self.store = bead_store()
        self.facts: dict[str, tuple[int, Bead | None]] = {}
        self.assumed: dict[str, tuple[Bead, int]] = {}
        self.replayed: dict[str, Bead] = {}
        self.store.subscribe(self._replay)

    @rule(name=NAMES, agent=AGENTS)
    def server_writes(self, name: str, agent: str) -> None:
        self.version = next(self.versions)
        self.server[name] = bead(name, self.version, agent)
        self.events.append((name, self.server[name]))

    @rule(name=NAMES)
    def server_deletes(self, name: str) -> None:
        if self.server.pop(name, None) is not None:
            self.version = next(self.versions)
            self.events.append((name, self.version))

    @rule()
    def server_lists(self) -> None:
        self.snapshots.append((self.version, list(self.server.values())))

    @precondition(lambda self: self.delivered < len(self.events))
    @rule()
    def watch_delivers(self) -> None:
        self._hear(self.delivered)
        self.delivered += 1

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def any_event_is_heard(self, data: st.DataObject) -> None:
        """An event again, or an answer to a write before the watch has it."""
        self._hear(data.draw(st.integers(0, len(self.events) - 1)))

    @precondition(lambda self: self.snapshots)
    @rule()
    def list_arrives(self) -> None:
        version, values = self.snapshots.pop(0)  # one lister, so in order; but maybe long after it was taken
        self.store.replace(values, str(version), TOWN)
        held = {value.metadata.name: value for value in values}
        for name in ("gp-1", "gp-2", "gp-3"):
            self._fact(name, int(held[name].metadata.resourceVersion) if name in held else version, held.get(name))

    @rule(name=NAMES, until=st.integers(1, 5))
    def assume(self, name: str, until: int) -> None:
        value = bead(name, 0, "assumed")
        self.store.assume(value, until)
        self.assumed[name] = (value, until)

    @rule(name=NAMES)
    def retract(self, name: str) -> None:
        self.store.retract(TOWN, name)
        self.assumed.pop(name, None)

    @rule(now=st.integers(0, 5))
    def expire(self, now: int) -> None:
        self.store.expire(now)
        self.assumed = {name: entry for name, entry in self.assumed.items() if entry[1] > now}

    @invariant()
    def the_newest_fact_shows(self) -> None:
        expected = {name: value for name, (_, value) in self.facts.items() if value is not None}
        expected |= {name: value for name, (value, _) in self.assumed.items()}
        assert {item.metadata.name: item for item in self.store.all()} == expected
        assert len(self.store) == len(expected)
        for agent in ("toast", "nux", "assumed"):
            names = [item.metadata.name for item in self.store.by("assignee", agent)]
            assert names == sorted(name for name, value in expected.items() if value.spec.assignee == agent)

    @invariant()
    def listeners_can_replay(self) -> None:
        assert {item.metadata.name: item for item in self.store.all()} == self.replayed

    def teardown(self) -> None:
        """Once all is delivered, the store is the server."""
        for number in range(self.delivered, len(self.events)):
            self._hear(number)
        self.store.expire(99)
        assert {item.metadata.name: item for item in self.store.all()} == self.server

    def _hear(self, number: int) -> None:
        name, told = self.events[number]
        if isinstance(told, Bead):
            self.store.put(told)
            self._fact(name, int(told.metadata.resourceVersion), told)
        else:
            self.store.remove(TOWN, name, str(told))
            self._fact(name, told, None)

    def _fact(self, name: str, version: int, value: Bead | None) -> None:
        known, held = self.facts.get(name, (0, None))
        if version > known:
            self.facts[name] = (version, value)
            if value is not None or held is not None:
                self.assumed.pop(name, None)

    def _replay(self, change: Change[Bead]) -> None:
        assert self.replayed.get(change.key[1]) == change.before
        if change.after is None:
            del self.replayed[change.key[1]]
        else:
            self.replayed[change.key[1]] = change.after


TestStoreLaws = StoreLaws.TestCase
# With the default of 100 a deletion heard late, after the next object of that name, is missed one time in two.
TestStoreLaws.settings = settings(max_examples=300, stateful_step_count=40)

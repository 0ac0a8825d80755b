"""Which Kubernetes Events are worth posting, and how they look."""

from __future__ import annotations

from gastown.actions import WARNING, Emit
from gastown.api.bead import Bead
from gastown.api.meta import ObjectMeta
from gastown.runtime.event_posts import BURST, INTERVAL_SECONDS, MESSAGE_LIMIT, REPEAT_SECONDS, EventLimit, event_body


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_same_words_are_posted_again_only_after_ten_minutes() -> None:
    clock = Clock()
    limit = EventLimit(clock)
    assert limit.may_post("uid", "Ready", "m")
    assert not limit.may_post("uid", "Ready", "m")
    assert limit.may_post("uid", "Ready", "other words")
    assert limit.may_post("other", "Ready", "m")
    clock.now = REPEAT_SECONDS
    assert limit.may_post("uid", "Ready", "m")


def test_a_flapping_object_is_cut_to_one_event_a_minute() -> None:
    clock = Clock()
    limit = EventLimit(clock)
    assert sum(limit.may_post("uid", "Ready", str(number)) for number in range(100)) == BURST
    for minute in range(1, 6):
        clock.now = minute * INTERVAL_SECONDS
        assert sum(limit.may_post("uid", "Ready", f"{minute} {number}") for number in range(100)) == 1


def test_what_it_remembers_does_not_grow_for_ever() -> None:
    clock = Clock()
    limit = EventLimit(clock)
    for number in range(1000):
        clock.now = number * 10.0
        limit.may_post(f"uid-{number}", "Ready", "m")
    assert len(limit._last) < 200
    assert len(limit._budget) < 200


def test_an_event_names_its_object_and_fits_the_servers_limits() -> None:
    bead = Bead(metadata=ObjectMeta(name="gp-1", namespace="town", uid="u", resourceVersion="7"))
    body = event_body(Emit(bead, WARNING, "Stalled", "x" * 5000), "operator", 1_800_000_000.25)
    assert body["metadata"] == {"name": "gp-1.66517289c5090", "namespace": "town"}
    assert body["involvedObject"] == {
        "apiVersion": "gastown.dev/v1alpha1",
        "kind": "Bead",
        "namespace": "town",
        "name": "gp-1",
        "uid": "u",
        "resourceVersion": "7",
    }
    assert (body["type"], body["reason"], len(body["message"])) == ("Warning", "Stalled", MESSAGE_LIMIT)
    assert body["firstTimestamp"] == "2027-01-15T08:00:00Z"

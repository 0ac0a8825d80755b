"""Something done again and again beside a test, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(act: Callable[[], None], pause_seconds: Callable[[], float]) -> Iterator[None]:
    """Act for the length of a block.

    Args:
        pause_seconds: Asked before each time.

    Raises:
        BaseException: At the end of the block: what an act ended with; there was none after it.
    """
    stop = threading.Event()
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            while not stop.wait(pause_seconds()):
                act()
        except BaseException as failure:  # noqa: BLE001 - told to the test at the end of the block
            failures.append(failure)

    thread = threading.Thread(target=loop, name=f"repeating {act}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        if failures:
            raise failures[0]

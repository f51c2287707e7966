# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread with a bounded queue on either side of the networks, so that none of their work is done in ``work()``."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

POLL_S = 0.05  # the longest that a block's work() waits: the scheduler must get the chance to stop
JOIN_S = 30.0  # the longest that stop() waits for a network to finish what it is at


class _Worker(Generic[T]):
    """A thread, a queue of at most ``size`` items, the error that ended the thread, if one did."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a queue of {size} frames: at least 1")
        self.error: Exception | None = None
        self._size, self._items = size, deque[T]()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._stopping = False
        self._items.clear()
        self._thread = threading.Thread(target=self._guarded, name=type(self).__name__, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the item that it is at; what is queued is dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(JOIN_S)

    def _guarded(self) -> None:
        try:
            self._run()
        except Exception as error:
            with self._changed:
                self.error = error
                self._changed.notify_all()

    def _run(self) -> None:
        raise NotImplementedError


class Producer(_Worker[T]):
    """Runs through an iterator ahead of time; ``take`` hands its items out."""

    def __init__(self, iterate: Callable[[], Iterator[T]], size: int) -> None:
        super().__init__(size)
        self._iterate = iterate
        self.finished = False

    def _run(self) -> None:
        self.finished = False
        for item in self._iterate():
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or len(self._items) < self._size)
                if self._stopping:
                    return
                self._items.append(item)
                self._changed.notify_all()
        with self._changed:
            self.finished = True
            self._changed.notify_all()

    def take(self) -> T | None:
        """The next item; None if none comes within ``POLL_S``, or none is left (``exhausted``). Raises what the iterator raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.finished or self.error, POLL_S)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self.error is not None:
                raise self.error
            return None

    @property
    def exhausted(self) -> bool:
        """True when every item has been taken."""
        with self._changed:
            return self.finished and not self._items


class Consumer(_Worker[T]):
    """Calls ``accept`` with each item that ``offer`` took.

    With ``weigh``, ``size`` bounds the sum of the waiting items' weights, and one item may wait whatever it weighs.
    """

    def __init__(self, accept: Callable[[T], None], size: int, weigh: Callable[[T], int] | None = None) -> None:
        super().__init__(size)
        self._accept, self._weigh = accept, weigh or (lambda _: 1)
        self._busy = False

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._items)
                if self._stopping:
                    return
                item = self._items.popleft()
                self._busy = True
                self._changed.notify_all()
            try:
                self._accept(item)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _fits(self, item: T) -> bool:
        """Whether there is room for one more. Called with the lock held."""
        return not self._items or sum(map(self._weigh, self._items)) + self._weigh(item) <= self._size

    def offer(self, item: T, wait: bool) -> bool:
        """Queue an item; False when the queue is full (if ``wait``, still full after ``POLL_S``). Raises what ``accept`` raised."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self.error or self._fits(item), POLL_S)
            if self.error is not None:
                raise self.error
            if not self._fits(item):
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def drain(self, timeout_s: float) -> list[T]:
        """Stop, once what is queued was accepted, or after ``timeout_s``; returns what was not."""
        with self._changed:
            running = self._thread is not None and self._thread.is_alive()
            if running:
                self._changed.wait_for(lambda: self.error or not (self._items or self._busy), timeout_s)
            self._stopping = True
            left = list(self._items)
            self._items.clear()
        self.stop()
        return left

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is queued or under way; False if something still is. Raises what ``accept`` raised."""
        with self._changed:
            idle = self._changed.wait_for(lambda: self.error or not (self._items or self._busy), timeout_s)
            if self.error is not None:
                raise self.error
            return bool(idle)

# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of the time goes into neural networks, so that a run can say what share of it did not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Clock(threading.local):
    seconds = 0.0
    running = False


_clock = _Clock()


@contextmanager
def in_network() -> Iterator[None]:
    """Count the time within as spent in a network (once, where such times are nested)."""
    if _clock.running:
        yield
        return
    started, _clock.running = time.perf_counter(), True
    try:
        yield
    finally:
        _clock.running = False
        _clock.seconds += time.perf_counter() - started


def network_seconds() -> float:
    """Seconds that this thread has spent in networks so far."""
    return _clock.seconds

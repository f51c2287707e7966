# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong between a radio and its host: samples that the host was too slow for, counted and logged."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

KINDS = ("overruns", "underruns", "late", "sequence_errors", "frames_dropped")


class RadioEvents:
    """Counts events of any thread, and hands them to ``write`` when ``flush`` is called: alike ones as one line with their number.

    overruns         samples received but not taken in time: they are lost.
    underruns        samples that were not there when they had to be sent: a gap on the air.
    late             bursts that came after the time at which they had to be sent.
    sequence_errors  packets lost between host and radio.
    frames_dropped   frames received that the decoder had no time for.
    """

    def __init__(self, write: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._pending: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, kind: str, device: str, sample: int | None = None, lost_samples: int = 0, count: int = 1) -> None:
        """Count ``count`` events of a kind; ``sample`` is where in the stream, ``lost_samples`` how many it cost, if known."""
        with self._lock:
            self._counts[kind] += count
            self._counts["lost_samples"] += lost_samples
            line = self._pending.setdefault(
                (kind, device), {"event": kind, "device": device, "count": 0, "lost_samples": 0, "sample": sample}
            )
            line["count"] += count
            line["lost_samples"] += lost_samples

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind, and the samples known to be lost by them."""
        with self._lock:
            return {kind: self._counts[kind] for kind in (*KINDS, "lost_samples")}

    def flush(self) -> None:
        """Write what has come since the last call."""
        with self._lock:
            lines, self._pending = list(self._pending.values()), {}
        if self._write is not None:
            for line in lines:
                self._write({key: value for key, value in line.items() if value is not None})

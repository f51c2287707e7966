# SPDX-License-Identifier: GPL-3.0-or-later
"""A stretch of the sample stream, addressed by absolute sample numbers."""

from __future__ import annotations

import numpy as np

from djscc.waveform.format import Complex


class SampleBuffer:
    """Samples from ``start`` to ``end``; appended at one end and forgotten at the other."""

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._store = np.zeros(1 << 16, np.complex64)
        self._at = 0  # where in the store the sample number ``start`` is

    def append(self, samples: Complex) -> None:
        """Take in the next samples."""
        held = self.end - self.start
        if self._at + held + samples.size > self._store.size:
            size = self._store.size
            while size < 2 * (held + samples.size):
                size *= 2
            store = np.empty(size, np.complex64)
            store[:held] = self._store[self._at : self._at + held]
            self._store, self._at = store, 0
        at = self._at + held
        self._store[at : at + samples.size] = samples
        self.end += samples.size

    def take(self, start: int, stop: int) -> Complex:
        """A view of samples ``start`` to ``stop - 1``; valid until the next ``append``."""
        at = self._at + start - self.start
        return self._store[at : at + stop - start]

    def forget(self, before: int) -> None:
        """Drop the samples before number ``before``."""
        dropped = min(max(before - self.start, 0), self.end - self.start)
        self.start += dropped
        self._at += dropped

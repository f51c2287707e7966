# SPDX-License-Identifier: GPL-3.0-or-later
"""Short real filters over one complex signal in one matrix product, and those that interpolate between samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from djscc.channels.streams import Complex

REACH = 12  # samples on either side that an interpolated value is made of
TAPS = 2 * REACH
KAISER_BETA = 8.0


def interpolation_taps(fraction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Taps (..., TAPS) that give x(i + fraction) from x[i - REACH + 1 .. i + REACH], 0 <= fraction <= 1.

    A sinc under a Kaiser window: the error is below -80 dB for signals within 0.36 of the sample rate.
    """
    distance = np.asarray(fraction, float)[..., None] + (REACH - 1) - np.arange(TAPS)
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (distance / REACH) ** 2, 0, None))) / np.i0(KAISER_BETA)
    return np.sinc(distance) * window


class FilterBank:
    """Real filters ``taps`` (K, T) over a complex signal.

    Products of overlapping pieces of the signal with Toeplitz matrices are several times faster than one of all its windows
    with the taps, for they copy the signal three times instead of T times.
    """

    PIECE = 16  # outputs of one row of a product

    def __init__(self, taps: NDArray[np.float32]) -> None:
        self._length = taps.shape[1]
        self._matrices = np.zeros((len(taps), self.PIECE + self._length - 1, self.PIECE), np.float32)
        for output in range(self.PIECE):
            self._matrices[:, output : output + self._length, output] = taps

    def __call__(self, samples: Complex) -> Iterator[NDArray[np.float32]]:
        """Correlate ``samples`` (n + T - 1,) with each filter in turn: (2, n), real and imaginary parts."""
        count = len(samples) - self._length + 1
        rows = -(-count // self.PIECE)
        width = self.PIECE + self._length - 1
        parts = np.zeros((2, rows * self.PIECE + self._length - 1), np.float32)
        parts[0, : len(samples)], parts[1, : len(samples)] = samples.real, samples.imag
        windows = np.lib.stride_tricks.sliding_window_view(parts, width, axis=1)[:, :: self.PIECE]
        pieces = np.ascontiguousarray(windows).reshape(-1, width)
        for matrix in self._matrices:
            yield (pieces @ matrix).reshape(2, -1)[:, :count]

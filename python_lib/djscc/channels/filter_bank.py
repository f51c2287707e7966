# SPDX-License-Identifier: GPL-3.0-or-later
"""Short real filters over one complex signal in one matrix product, and those that interpolate between samples."""

from __future__ import annotations

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


def filter_bank(samples: Complex, taps: NDArray[np.float32]) -> Complex:
    """Correlate ``samples`` (n + T - 1,) with each row of ``taps`` (K, T): output (K, n)."""
    parts = np.ascontiguousarray(samples).view(np.float32).reshape(-1, 2)
    windows = np.lib.stride_tricks.sliding_window_view(parts, taps.shape[1], axis=0)
    result = np.empty((len(taps), len(windows)), np.complex64)
    result.real = taps @ np.ascontiguousarray(windows[:, 0]).T
    result.imag = taps @ np.ascontiguousarray(windows[:, 1]).T
    return result

# SPDX-License-Identifier: GPL-3.0-or-later
"""Complex channel gain along a frame, from noisy gains at its pilots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.format import BLOCK_SYMBOLS, Float

_WIDTHS = (0.4, 0.7, 1.4, 2.8, 5.6, 11.2, 22.4, 44.8)  # of the kernel in pilot spacings
SE=1.0
_MOST_WEIGHT = 64.0  # of one gain in the choice of the width


@dataclass(frozen=True)
class SmoothGain:
    """Gain at each pilot block: the estimate, and its variance relative to one symbol's noise."""

    gain: NDArray[np.complex128]
    variance: Float
    width: float


def smooth_gain(position: Float, gain: NDArray[np.complex128], weight: Float) -> SmoothGain:
    """Local linear regression with a Gaussian kernel whose width leave-one-out cross-validation chooses.

    ``position`` (n,) rises; ``weight`` (n,) is each gain's energy in unit-power symbols. The width follows the channel:
    wide in noise alone, narrow in fading and phase noise; of widths that differ by less than one standard error it is the
    widest. (Fan and Gijbels, Local Polynomial Modelling, 1996.)
    """
    n = position.size
    spacing = float(BLOCK_SYMBOLS)
    scores: list[NDArray[np.float64]] = []
    fits: list[SmoothGain] = []
    for width in _WIDTHS:
        reach = min(int(np.ceil(2.5 * width)) + 1, n - 1)
        around = np.arange(n)[:, None] + np.arange(-reach, reach + 1)
        inside = (around >= 0) & (around < n)
        around = np.clip(around, 0, n - 1)
        u = (position[around] - position[:, None]) / (spacing * width)
        k = np.where(inside, np.exp(-0.5 * u**2), 0.0) * weight[around]
        s0, s1, s2 = k.sum(axis=1), (k * u).sum(axis=1), (k * u**2).sum(axis=1)
        w = k * (s2[:, None] - s1[:, None] * u)
        w /= np.maximum((s0 * s2 - s1**2)[:, None], 1e-9 * s0[:, None] ** 2)
        estimate = np.einsum("ij,ij->i", w, gain[around])
        left_out = np.abs(gain - estimate) ** 2 / np.maximum(1 - w[:, reach], 1e-3) ** 2
        scores.append(weight.clip(max=_MOST_WEIGHT) * left_out)
        fits.append(SmoothGain(estimate, np.sum(w**2 / weight[around] * inside, axis=1), width))
    best = int(np.argmin([score.sum() for score in scores]))
    chosen = best
    for wider in range(best + 1, len(fits)):
        worse = scores[wider] - scores[best]
        if worse.sum() < SE * np.sqrt(n) * worse.std():
            chosen = wider
    return fits[chosen]

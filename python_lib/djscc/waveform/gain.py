# SPDX-License-Identifier: GPL-3.0-or-later
"""Complex channel gain along a frame, from noisy gains at its pilots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.format import BLOCK_SYMBOLS, Float

_WIDTHS = (0.4, 0.7, 1.4, 2.8, 5.6, 11.2, 22.4, 44.8)  # of the kernel in pilot spacings
_CAUTION = 2.0  # standard deviations of the estimated error
_MOST_WEIGHT = 64.0  # of one gain in the choice of the width


@dataclass(frozen=True)
class SmoothGain:
    """Gain at the pilots: where, as measured, as estimated, and the estimate's variance relative to one symbol's noise."""

    position: Float
    measured: NDArray[np.complex128]
    gain: NDArray[np.complex128]
    variance: Float
    width: float

    @property
    def steady(self) -> bool:
        """Whether the gain was found not to vary."""
        return self.width == _WIDTHS[-1]


def smooth_gain(position: Float, gain: NDArray[np.complex128], weight: Float, noise: float) -> SmoothGain:
    """Local linear regression with a Gaussian kernel, of the width that promises the least error.

    ``position`` (n,), in symbols, rises; ``weight`` (n,) is each gain's energy in unit-power symbols, so that its variance
    is ``noise / weight``. The error of each width is estimated without bias from its residues and the noise (Stein's
    estimate, or Mallows' C_p). So the width follows the channel: wide in noise alone, narrow in fading and phase noise.

    Working range: gains that a line fits over two pilot spacings, which at 1 Msym/s is fading of 100 Hz Doppler spread.
    """
    share = np.minimum(1, _MOST_WEIGHT / weight)
    fits, scores, freedoms = [], [], []
    for width in _WIDTHS:
        fit, own = _regress(position, gain, weight, width)
        fits.append(fit)
        scores.append(float(np.sum(share * (weight * np.abs(gain - fit.gain) ** 2 + 2 * noise * own))))
        freedoms.append(float(np.sum(own)))
    best = int(np.argmin(scores))
    chosen = best
    for wider in range(best + 1, len(fits)):
        by_chance = _CAUTION * noise * np.sqrt(freedoms[best] - freedoms[wider] + 1)
        if scores[wider] < scores[best] + by_chance:
            chosen = wider
    return fits[chosen]


def _regress(position: Float, gain: NDArray[np.complex128], weight: Float, width: float) -> tuple[SmoothGain, Float]:
    """The regression at one width, and the weight of each gain in its own estimate."""
    n = position.size
    reach = min(int(np.ceil(2.5 * width)) + 1, n - 1)
    around = np.arange(n)[:, None] + np.arange(-reach, reach + 1)
    inside = (around >= 0) & (around < n)
    around = np.clip(around, 0, n - 1)
    u = (position[around] - position[:, None]) / (BLOCK_SYMBOLS * width)
    kernel = np.where(inside, np.exp(-0.5 * u**2), 0.0) * weight[around]
    s0, s1, s2 = kernel.sum(axis=1), (kernel * u).sum(axis=1), (kernel * u**2).sum(axis=1)
    w = kernel * (s2[:, None] - s1[:, None] * u)
    w /= np.maximum((s0 * s2 - s1**2)[:, None], 1e-9 * s0[:, None] ** 2)
    estimate = np.einsum("ij,ij->i", w, gain[around])
    variance = np.sum(w**2 / weight[around], axis=1)
    return SmoothGain(position, gain, estimate, variance, width), w[:, reach]

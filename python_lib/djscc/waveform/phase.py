# SPDX-License-Identifier: GPL-3.0-or-later
"""A smooth curve of the carrier phase along a frame, through the anchor's and the windows' phases."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.signal import savgol_filter

from djscc.waveform.anchor import Anchor
from djscc.waveform.format import BLOCK_SYMBOLS, Complex, Float, Integer, turn
from djscc.waveform.tracking import Track

_RATE_PRIOR = 1e-8  # cycles per symbol^2: 10 kHz/s at 1 Msym/s
_SMOOTH = 9  # windows in the running cubic fit of what the polynomial leaves


class PhaseCurve:
    """Polynomial of third degree through all phases, and above it, in long frames, a spline through what is left.

    It takes out what would keep the gains of neighbouring pilot blocks from being averaged: carrier offset and Doppler
    rate. Fading and phase noise are left to the smoothing of the gains. Working range: Doppler rate 10 kHz/s at 1 Msym/s.
    """

    def __init__(self, anchor: Anchor, track: Track) -> None:
        self._origin = anchor.centre
        self._span = max(float(track.centre[-1]) if track.centre.size else 0.0, 2 * anchor.centre) - anchor.centre
        x = np.concatenate([[0.0], (track.centre - self._origin) / self._span])
        y = np.concatenate([[0.0], track.phase - anchor.phase])
        deviation = np.sqrt(np.concatenate([[anchor.phase_variance], track.phase_variance]) + 1e-4)
        deviation[1:][~track.present] *= 30
        # Rows of least squares: the phases, the anchor's frequency, and priors that keep short frames in bounds.
        slope_deviation = float(np.sqrt(anchor.rate_variance)) * self._span
        bend_deviation = _RATE_PRIOR / 2 * self._span**2
        rows = np.concatenate([np.stack([x**0, x, x**2, x**3], axis=1) / deviation[:, None], np.zeros((3, 4))])
        rows[-3, 1] = 1 / max(slope_deviation, 1e-4)
        rows[-2, 2] = 1 / bend_deviation
        rows[-1, 3] = 1 / max(bend_deviation / 4 * (track.centre.size > 6), 1e-6)
        right = np.concatenate([y / deviation, np.zeros(3)])
        self._coefficients = np.linalg.lstsq(rows, right, rcond=None)[0]
        self._base = anchor.phase
        self._spline: CubicSpline | None = None
        if track.centre.size > _SMOOTH:
            left = track.phase - self._polynomial(track.centre)
            self._spline = CubicSpline(track.centre, savgol_filter(left, _SMOOTH, 3, mode="interp"))
            self._bounds = float(track.centre[0]), float(track.centre[-1])

    def _polynomial(self, symbol: Float) -> Float:
        x = (symbol - self._origin) / self._span
        a, b, c, d = self._coefficients
        return self._base + a + x * (b + x * (c + x * d))

    def cycles(self, symbol: Float) -> Float:
        """Phase in cycles over that of the nominal frequency, at ``symbol`` after the preamble's first."""
        value = self._polynomial(symbol)
        if self._spline is not None:
            value = value + self._spline(np.clip(symbol, *self._bounds))
        return value

    def back(self, symbol: Float) -> Complex:
        """The factor that turns the phase back."""
        return turn(-self.cycles(symbol))

    def back_blocks(self, first: Integer) -> Complex:
        """The same for blocks (n, BLOCK_SYMBOLS) that begin at symbols ``first`` (n,): straight lines over the blocks.

        At 10 kHz/s and 1 Msym/s a line is off by 1e-4 cycles at most.
        """
        start, end = self.cycles(first.astype(np.float64)), self.cycles(first + float(BLOCK_SYMBOLS))
        along = np.arange(BLOCK_SYMBOLS) / BLOCK_SYMBOLS
        return turn(-(start[:, None] + (end - start)[:, None] * along))

    def rates(self, symbol: float) -> tuple[float, float]:
        """Frequency (cycles/symbol over the nominal) and its rate (cycles/symbol^2), of the polynomial."""
        x = (symbol - self._origin) / self._span
        _, b, c, d = self._coefficients
        return (b + x * (2 * c + x * 3 * d)) / self._span, (2 * c + x * 6 * d) / self._span**2

# SPDX-License-Identifier: GPL-3.0-or-later
"""A delay that varies in time by fractions of a sample: the one cause of a late, stretched or Doppler-shifted signal.

Output m is the input at position p(m) = m - delay(m), interpolated by a Farrow structure: fixed filters over the input,
whose outputs are the coefficients of a polynomial in the fraction of p(m).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from djscc.channels.filter_bank import REACH, TAPS, FilterBank, interpolation_taps
from djscc.channels.streams import Complex, Float, Stage

ORDER = 6  # of the polynomial, which then follows the filters to -100 dB
SILENCE = 2 * TAPS  # zeros kept before the first sample
LARGEST = 8192  # outputs made at once


def _farrow_taps() -> NDArray[np.float32]:
    """(ORDER + 1, TAPS): polynomials in fraction - 1/2, highest power first, fitted at Chebyshev nodes."""
    fraction = (1 - np.cos(np.pi * (np.arange(64) + 0.5) / 64)) / 2
    return np.polyfit(fraction - 0.5, interpolation_taps(fraction), ORDER).astype(np.float32)


class VariableDelay(Stage):
    """Delay a signal by ``delay(m)`` samples, a smooth function (array in, array out) of the output's index m.

    ``push`` returns every output that the input so far decides; before the first sample there was silence. Output is the
    same for all push sizes to within float32 rounding.
    """

    FARROW = FilterBank(_farrow_taps())
    lag = 2 * REACH

    def __init__(self, delay: Callable[[Float], Float]) -> None:
        self._delay = delay
        self._kept: Complex = np.zeros(SILENCE, np.complex64)
        self._start = -SILENCE  # position of the first sample kept
        self._index = 0  # of the next output

    def push(self, samples: Complex) -> Complex:
        """Take any number of samples; return those outputs that are decided, complex64."""
        buffer = np.concatenate([self._kept, samples])
        end = self._start + len(buffer) - REACH  # positions below this can be told
        outputs = []
        place = float(self._positions(1)[0])
        while place < end:
            position = self._positions(min(int(end - place) + 1, LARGEST))
            position = position[: int(np.searchsorted(position, end))]
            outputs.append(self._interpolate(buffer, position))
            self._index += len(position)
            place = float(self._positions(1)[0])
        drop = int(np.clip(np.floor(place) - REACH - self._start, 0, len(buffer) - SILENCE))
        self._kept, self._start = buffer[drop:], self._start + drop
        return np.concatenate(outputs) if outputs else np.empty(0, np.complex64)

    def _positions(self, count: int) -> Float:
        """Positions of the next outputs; those far before the first sample are moved to where silence is kept."""
        index = np.arange(self._index, self._index + count, dtype=np.float64)
        return np.maximum(index - self._delay(index), REACH - SILENCE)

    def _interpolate(self, buffer: Complex, position: Float) -> Complex:
        base = np.floor(position)
        whole = base.astype(np.int64) - self._start
        first, last = int(whole[0]), int(whole[-1])
        steady = last - first + 1 == len(whole) and bool(np.all(np.diff(whole) == 1))
        place = slice(None) if steady else whole - first
        offset = (position - base - 0.5).astype(np.float32)
        polynomial = np.zeros((2, len(whole)), np.float32)
        for coefficient in self.FARROW(buffer[first - REACH + 1 : last + REACH + 1]):
            polynomial *= offset
            polynomial += coefficient[:, place]
        result = np.empty(len(whole), np.complex64)
        result.real, result.imag = polynomial
        return result

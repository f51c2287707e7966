# SPDX-License-Identifier: GPL-3.0-or-later
"""The tapped delay lines NTN-TDL-A to D of 3GPP TR 38.811 V15.4.0, tables 6.9.2-1 to 6.9.2-4."""

from __future__ import annotations

import math

import numpy as np

from djscc.channels.fading import FlatFading
from djscc.channels.fading_parameters import NtnTdl, Rayleigh, Rician
from djscc.channels.filter_bank import REACH, TAPS, FilterBank, interpolation_taps
from djscc.channels.schema import require
from djscc.channels.streams import Complex, Stage

LONGEST = 256  # samples between first and last tap

PROFILES: dict[str, tuple[tuple[float, float, float | None], ...]] = {
    "A": ((0.0, 0.0, None), (1.0811, -4.675, None), (2.8416, -6.482, None)),
    "B": ((0.0, 0.0, None), (0.7249, -1.973, None), (0.7410, -4.332, None), (5.7392, -11.914, None)),
    "C": ((0.0, -10.618, -0.394), (14.8124, -23.373, None)),
    "D": ((0.0, -11.991, -0.284), (0.5596, -9.887, None), (7.3340, -16.771, None)),
}
"""Taps of each profile: delay over the delay spread, power of the scatter in dB, power of the line of sight in dB or None."""


def taps(fading: NtnTdl) -> list[tuple[float, float, float | None]]:
    """Taps as (delay in s, share of the whole power, K in dB or None); the shares add up to 1."""
    rows = []
    for delay, scatter_db, sight_db in PROFILES[fading.profile]:
        scatter = 10 ** (scatter_db / 10)
        sight = 10 ** (sight_db / 10) if sight_db is not None else 0.0
        k_db = sight_db - scatter_db if sight_db is not None else None
        rows.append((delay * fading.delay_spread_ns * 1e-9, scatter + sight, k_db))
    total = sum(power for _, power, _ in rows)
    return [(delay, power / total, k_db) for delay, power, k_db in rows]


def flat_equivalent(fading: NtnTdl) -> Rayleigh | Rician:
    """What a signal sees whose bandwidth is small beside the inverse of the delays: all taps add up to one gain."""
    rows = taps(fading)
    sight = sum(power / (1 + 10 ** (-k_db / 10)) for _, power, k_db in rows if k_db is not None)
    return _tap(fading, 10 * math.log10(sight / (1 - sight)) if sight else None)


class TappedDelayLine(Stage):
    """y[n] = sum over taps of h_i[n] x(n - delay_i), fractional delays by interpolation.

    Output is the same for all push sizes to within float32 rounding.
    """

    def __init__(self, fading: NtnTdl, rate: float, seed: int) -> None:
        rows = taps(fading)
        delays = np.array([delay * rate for delay, _, _ in rows])
        spread = int(np.ceil(delays.max()))
        limit = LONGEST / rate / max(delay for delay, _, _ in PROFILES[fading.profile]) * 1e9
        require(
            spread <= LONGEST, "delay_spread_ns", fading.delay_spread_ns, f"At this sample rate use up to {limit:.0f}."
        )
        filters = np.zeros((len(rows), TAPS + spread), np.float32)
        for row, delay, (_, power, _) in zip(filters, delays, rows, strict=True):
            whole = int(np.ceil(delay))
            row[spread - whole :][:TAPS] = interpolation_taps(np.array(whole - delay)) * np.sqrt(power)
        self._filters, self._length = FilterBank(filters), filters.shape[1]
        self._gains = [FlatFading(_tap(fading, k_db), rate, seed, f"tap {i}") for i, (_, _, k_db) in enumerate(rows)]
        self.lag = REACH + spread
        self._kept = np.zeros(self._length - 1 - REACH, np.complex64)

    def push(self, samples: Complex) -> Complex:
        """Take samples, return those outputs that are decided: REACH fewer than were taken, once at the start."""
        buffer = np.concatenate([self._kept, samples])
        count = len(buffer) - self._length + 1
        if count <= 0:
            self._kept = buffer
            return np.empty(0, np.complex64)
        self._kept = buffer[count:]
        result, path = np.zeros(count, np.complex64), np.empty(count, np.complex64)
        for (path.real, path.imag), gain in zip(self._filters(buffer), self._gains, strict=True):
            result += path * gain.take(count)
        return result


def _tap(fading: NtnTdl, k_db: float | None) -> Rayleigh | Rician:
    """The fading of one tap."""
    if k_db is None:
        return Rayleigh(doppler_hz=fading.doppler_hz)
    return Rician(k_db=k_db, doppler_hz=fading.doppler_hz, line_of_sight_doppler_hz=fading.line_of_sight_doppler_hz)

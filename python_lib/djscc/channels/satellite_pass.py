# SPDX-License-Identifier: GPL-3.0-or-later
"""A satellite pass as a channel: one truly varying delay, from which carrier and clock Doppler follow, and a varying level.

At stream time t the channel is at place u = start_s + a t of the pass, a = time_scale. So that the Doppler shift is that of the
place, the delay accumulates as D(t) = tau(start_s) + (tau(u) - tau(start_s)) / a, whose slope is tau'(u).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from djscc.channels.link_budget import snr_over_pass
from djscc.channels.orbit import LIGHT_M_S, find_pass
from djscc.channels.pass_parameters import Link, Orbit
from djscc.channels.schema import require
from djscc.channels.streams import Complex, Float, Stage, phasor


@dataclass(frozen=True)
class PassState:
    """Where the satellite is and what that does to the signal, before any pre-compensation."""

    elevation_deg: float
    range_km: float
    doppler_hz: float
    doppler_rate_hz_s: float
    snr_db: float | None
    """Es/N0, fading at its mean power; None without noise, -inf after the set."""


class SatellitePass:
    """Delay, carrier phase and level of a described pass over stream time in s.

    ``snr_db`` is the largest Es/N0 of the pass; None takes it from the link budget, where there is one.
    """

    def __init__(self, orbit: Orbit, link: Link | None, symbol_rate: float, snr_db: float | None = None) -> None:
        self.flight = find_pass(orbit)
        inside = 0 <= orbit.start_s < self.flight.duration_s
        require(inside, "orbit.start_s", orbit.start_s, f"This pass lasts {self.flight.duration_s:.1f} s.")
        self._orbit = orbit
        self._spline = self.flight.delay()
        self._delay = _Curve(self._spline)
        self._level: _Curve | None = None
        self.duration_s = (self.flight.duration_s - orbit.start_s) / orbit.time_scale
        """Stream time until the satellite sets; the signal is gone then."""
        self.peak_snr_db = snr_db
        """Largest Es/N0 of the whole pass."""
        if link:
            over_pass = snr_over_pass(orbit, link, self.flight, symbol_rate)
            self.peak_snr_db = float(over_pass.max()) if snr_db is None else snr_db
            amplitude = 10 ** ((over_pass - over_pass.max()) / 20)
            self._level = _Curve(CubicSpline(self.flight.time_s, amplitude))

    def state(self, time_s: float) -> PassState:
        """What is true at a stream time, for logs and plots."""
        time = np.array([time_s])
        place = float(np.clip(self._place(time)[0], 0, self.flight.duration_s))
        level = float(self.amplitude(time)[0])
        snr_db = None
        if self.peak_snr_db is not None:
            snr_db = self.peak_snr_db + 20 * math.log10(level) if level > 0 else -math.inf
        delay, slope, bend = (float(self._spline(place, order)) for order in range(3))
        return PassState(
            elevation_deg=float(np.interp(place, self.flight.time_s, self.flight.elevation_deg)),
            range_km=delay * LIGHT_M_S / 1e3,
            doppler_hz=-self._orbit.carrier_hz * slope,
            doppler_rate_hz_s=-self._orbit.carrier_hz * bend * self._orbit.time_scale,
            snr_db=snr_db,
        )

    def delay_s(self, time: Float) -> Float:
        """Delay of the samples, that is, of the clock."""
        delay = self._accumulated(time, 0.0)
        if self._orbit.precompensation == "carrier-and-clock":
            predicted = self._accumulated(time, self._orbit.ephemeris_error_s)
            delay = delay - predicted + self._accumulated(np.zeros(1), self._orbit.ephemeris_error_s)
        return delay

    def carrier_cycles(self, time: Float) -> Float:
        """Phase of the carrier in cycles, 0 at the beginning; its slope is the Doppler shift."""
        delay = self._accumulated(time, 0.0) - self._accumulated(np.zeros(1), 0.0)
        if self._orbit.precompensation != "none":
            error = self._orbit.ephemeris_error_s
            delay = delay - (self._accumulated(time, error) - self._accumulated(np.zeros(1), error))
        return -self._orbit.carrier_hz * delay

    def amplitude(self, time: Float) -> Float:
        """Level over that of the pass's largest Es/N0; 0 once the satellite has set."""
        level = self._level(self._place(time)) if self._level else np.ones(len(time))
        return np.where(time < self.duration_s, level, 0.0)

    def _place(self, time: Float) -> Float:
        return np.minimum(self._orbit.start_s + self._orbit.time_scale * time, self.flight.duration_s)

    def _accumulated(self, time: Float, late: float) -> Float:
        first = self._delay(np.array([self._orbit.start_s - late]))
        return first + (self._delay(self._place(time) - late) - first) / self._orbit.time_scale


class PassGain(Stage):
    """The carrier's phase and the level of a pass, on samples."""

    def __init__(self, flight: SatellitePass, rate: float) -> None:
        self._flight, self._rate, self._index = flight, rate, 0

    def push(self, samples: Complex) -> Complex:
        """Rotate and scale."""
        time = np.arange(self._index, self._index + len(samples)) / self._rate
        self._index += len(samples)
        level = self._flight.amplitude(time).astype(np.float32)
        return samples * phasor(self._flight.carrier_cycles(time)) * level


class _Curve:
    """A spline read at ascending places, one polynomial for each run within a piece; beyond its ends the outer pieces go on."""

    def __init__(self, spline: CubicSpline) -> None:
        self._knots: NDArray[np.float64] = spline.x
        self._coefficients: NDArray[np.float64] = spline.c
        self._spacing = spline.x[1] - spline.x[0]

    def __call__(self, place: Float) -> Float:
        last = self._coefficients.shape[1] - 1
        pieces = np.clip((place[[0, -1]] / self._spacing).astype(np.int64), 0, last) if len(place) else [0, 0]
        result = np.empty_like(place)
        start = 0
        for piece in range(pieces[0], pieces[1] + 1):
            end = len(place) if piece == pieces[1] else int(np.searchsorted(place, self._knots[piece + 1]))
            a, b, c, d = self._coefficients[:, piece]
            x = place[start:end] - self._knots[piece]
            result[start:end] = ((a * x + b) * x + c) * x + d
            start = end
        return result

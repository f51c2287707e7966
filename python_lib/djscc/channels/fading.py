# SPDX-License-Identifier: GPL-3.0-or-later
"""Flat fading h = a exp(j (2 pi f t + phi)) + s w: a line of sight a that may be shadowed, and Rayleigh scatter w.

Rayleigh has a = 0; Rician has a and s constant; in shadowed Rician (Abdi 2003) a^2 is Gamma distributed; in the two-state
land-mobile model (Lutz 1991) a and s change with the state. ``FlatFading`` is the process in time, ``draw_gains`` its
distribution at one instant, made of the same pieces.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from djscc.channels.fading_parameters import FlatFadingParameters, Rician, ShadowedRician, TwoState
from djscc.channels.processes import NODES_PER_PERIOD, doppler_process, interpolated, slow_process, split_factor
from djscc.channels.schema import require
from djscc.channels.streams import Complex, Float, Stream, complex_normal, phasor, random_generator

SHADOW_NODES = 8  # values in one correlation time of the shadowing


class FlatFading:
    """The gain h over time at ``rate`` values per second: ``take(count)`` returns the next ones, complex64.

    phi is uniform over the seeds. Raises ChannelError where the Doppler shift is too fast for the rate.
    """

    def __init__(self, fading: FlatFadingParameters, rate: float, seed: int, purpose: str = "fading") -> None:
        doppler = fading.doppler_hz
        require(
            4 * doppler <= rate, "fading.doppler_hz", doppler, f"This sample rate can follow up to {rate / 4:g} Hz."
        )
        self._step = fading.line_of_sight_doppler_hz / rate
        factor = split_factor(rate / (NODES_PER_PERIOD * doppler))
        start = phasor(np.array([random_generator(seed, purpose).random()]))[0]
        nodes = _Nodes(fading, rate / factor, start, bool(self._step), seed, purpose)
        self._gains = interpolated(nodes, factor)
        self._index = 0

    def take(self, count: int) -> Complex:
        """The next ``count`` gains."""
        gains = self._gains.take(count)
        if self._step:
            gains = gains[0] + gains[1] * phasor(self._step * np.arange(self._index, self._index + count))
        self._index += count
        return gains


class _Nodes(Stream):
    """The gain at the rate of its nodes; with ``apart``, scatter and line of sight in two rows, to be rotated later."""

    BLOCK = 64

    def __init__(
        self, fading: FlatFadingParameters, rate: float, start: np.complex64, apart: bool, seed: int, purpose: str
    ) -> None:
        super().__init__()
        self._fading, self._start, self._apart = fading, start, apart
        self._scatter = doppler_process(fading.doppler_hz / rate, random_generator(seed, f"{purpose} scatter"))
        self._shadow: Stream | None = None
        self._bad: _States | None = None
        if isinstance(fading, (ShadowedRician, TwoState)):
            values = fading.shadowing_time_s * rate
            factor = split_factor(max(1.0, values / SHADOW_NODES))
            slow = slow_process(values / factor, random_generator(seed, f"{purpose} shadow"))
            self._shadow = interpolated(slow, factor)
        if isinstance(fading, TwoState):
            self._bad = _States(fading, rate, random_generator(seed, f"{purpose} states"))

    def _next_block(self) -> Complex:
        normal = self._shadow.take(self.BLOCK) if self._shadow else np.zeros(1)
        bad = self._bad.take(self.BLOCK) if self._bad else np.zeros(1, bool)
        sight, scale = amplitudes(self._fading, normal, bad)
        scatter = (self._scatter.take(self.BLOCK) * scale).astype(np.complex64)
        direct = np.broadcast_to(sight.astype(np.float32) * self._start, scatter.shape)
        return np.stack([scatter, direct]) if self._apart else scatter + direct


class _States(Stream):
    """Which state a two-state channel is in: True for bad. Stays are memoryless."""

    def __init__(self, fading: TwoState, rate: float, generator: np.random.Generator) -> None:
        super().__init__()
        self._means = (fading.good_s * rate, fading.bad_s * rate)
        self._generator = generator
        self._state = bool(generator.random() < fading.share_of_bad)

    def _next_block(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        stay = int(self._generator.geometric(min(1.0, 1 / self._means[self._state])))
        self._state = not self._state
        return np.full(stay, not self._state)


def amplitudes(
    fading: FlatFadingParameters, normal: Float, bad: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[Float, Float]:
    """Amplitudes a of the line of sight and s of the scatter, where the shadowing is ``normal`` (a draw of N(0, 1))."""
    if isinstance(fading, Rician):
        k = 10 ** (fading.k_db / 10)
        return np.array([np.sqrt(k / (k + 1))]), np.array([np.sqrt(1 / (k + 1))])
    if isinstance(fading, ShadowedRician):
        b, m, omega = fading.parameters
        level = 1 / (2 * b + omega) if fading.normalise else 1.0
        quantile = special.gammaincinv(m, special.ndtr(normal))
        return np.sqrt(level * omega / m * quantile), np.full(1, np.sqrt(2 * b * level))
    if isinstance(fading, TwoState):
        level = 1 / fading.mean_power if fading.normalise else 1.0
        shadowed = 10 ** ((fading.bad_mean_db + fading.bad_std_db * normal) / 10)
        power = np.where(bad, shadowed, 10 ** (-fading.good_k_db / 10))
        return np.sqrt(level) * ~bad, np.sqrt(level * power)
    return np.zeros(1), np.ones(1)


def draw_gains(fading: FlatFadingParameters, count: int, generator: np.random.Generator) -> Complex:
    """``count`` independent gains: what the process is at instants far apart."""
    bad = generator.random(count) < (fading.share_of_bad if isinstance(fading, TwoState) else 0.0)
    sight, scale = amplitudes(fading, generator.standard_normal(count), bad)
    direct = sight * phasor(generator.random(count))
    return (direct + scale * complex_normal(generator, count)).astype(np.complex64)

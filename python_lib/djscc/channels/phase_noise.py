# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase noise of an oscillator from its single-sideband mask in dBc/Hz.

The mask spans many decades, so the phase is a sum of Gaussian processes, each made at a sixteenth of the rate of the one before and
holding the part of the mask below it; neighbours share the mask by a smooth crossover.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from djscc.channels.processes import ColouredNoise, Interpolated, taps_from_spectrum
from djscc.channels.streams import Complex, Float, Stage, Stream, phasor, random_generator

RATIO = 16  # of the rates of neighbouring processes
CROSSOVER = 1 / 256  # of a process's rate: below about this the next one takes over
REACH = 1024  # a process's filter has 2 REACH + 1 taps


def mask_level(mask: tuple[tuple[float, float], ...], offset_hz: Float) -> Float:
    """The mask in dBc/Hz at offsets in Hz: straight in dB over log frequency between its points, level outside."""
    points = np.array(mask)
    magnitude = np.maximum(np.abs(offset_hz), points[0, 0])
    return np.interp(np.log10(magnitude), np.log10(points[:, 0]), points[:, 1])


class PhaseNoise(Stage):
    """Rotate a signal by a phase whose two-sided spectrum is the mask: S(f) = 10^(L(f)/10) rad^2/Hz (small angles)."""

    def __init__(self, mask: tuple[tuple[float, float], ...], rate: float, seed: int, purpose: str) -> None:
        self._phase = _level(mask, rate, 0, mask[0][0], seed, purpose)

    def push(self, samples: Complex) -> Complex:
        """Rotate."""
        cycles = self._phase.take(len(samples)) / (2 * np.pi)
        return samples * phasor(cycles)


class _Sum(Stream):
    """The sum of two streams of the same rate."""

    def __init__(self, first: Stream, second: Stream) -> None:
        super().__init__()
        self._first, self._second = first, second

    def _next_block(self) -> NDArray[np.float32]:
        return self._first.take(4096) + self._second.take(4096)


def _level(
    mask: tuple[tuple[float, float], ...], rate: float, level: int, lowest_hz: float, seed: int, purpose: str
) -> Stream:
    """The process at ``rate`` and all slower ones below it."""
    size = fft.next_fast_len(8 * REACH)
    frequency = fft.fftfreq(size, 1 / rate)
    last = lowest_hz > rate * CROSSOVER
    spectrum = 10 ** (mask_level(mask, frequency) / 10) * rate
    octaves = np.log2(np.maximum(np.abs(frequency), 1e-9 * rate) / (CROSSOVER * rate))
    if not last:
        spectrum = spectrum * _rise(octaves)
    if level:
        spectrum = spectrum * (1 - _rise(octaves - np.log2(RATIO)))
    noise = ColouredNoise(
        taps_from_spectrum(spectrum, REACH), random_generator(seed, f"{purpose} {level}"), 8 * REACH, real=True
    )
    if last:
        return noise
    return _Sum(noise, Interpolated(_level(mask, rate / RATIO, level + 1, lowest_hz, seed, purpose), RATIO))


def _rise(octaves: Float) -> Float:
    """From 0 one octave below to 1 one octave above, in power."""
    return np.sin(np.pi / 4 * (1 + np.clip(octaves, -1, 1))) ** 2

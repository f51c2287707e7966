# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaussian processes with a given autocorrelation or spectrum: made slowly, interpolated to the sample rate.

That costs less per sample than a sum of sinusoids, and is Gaussian at every instant rather than for many sinusoids only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from djscc.channels.streams import Float, Stream, complex_normal

NODES_PER_PERIOD = 16  # values of a process in one period of its largest Doppler shift, before interpolation
MEMORY = 24.0  # periods: the fading's autocorrelation is J0 times a Gaussian window of this standard deviation
INNER_FACTOR = 256  # interpolation by more than this runs in two steps


class ColouredNoise(Stream):
    """White normal noise through a filter, by blocks of FFTs (overlap-save): variance sum(taps^2).

    Circular complex (complex64) or, with ``real``, real (float32).
    """

    def __init__(self, taps: Float, generator: np.random.Generator, block: int = 4096, real: bool = False) -> None:
        super().__init__()
        self._generator, self._count, self._real = generator, block, real
        self._size = fft.next_fast_len(block + len(taps) - 1, real)
        self._response = (fft.rfft if real else fft.fft)(taps.astype(np.float32), self._size)
        self._white = self._draw(len(taps) - 1)

    def _draw(self, count: int) -> NDArray[Any]:
        if self._real:
            return self._generator.standard_normal(count, dtype=np.float32)
        return complex_normal(self._generator, count)

    def _next_block(self) -> NDArray[Any]:
        white = np.concatenate([self._white, self._draw(self._count)])
        start = len(self._white)
        self._white = white[self._count :]
        if self._real:
            shaped = fft.irfft(fft.rfft(white, self._size) * self._response, self._size)
        else:
            shaped = fft.ifft(fft.fft(white, self._size) * self._response)
        return shaped[start : start + self._count]


class Interpolated(Stream):
    """A stream at ``factor`` times the rate of ``source``, by cubic (Catmull-Rom) interpolation."""

    def __init__(self, source: Stream, factor: int) -> None:
        super().__init__()
        self._source, self._intervals = source, max(1, 8192 // factor)
        t = np.arange(factor) / factor
        basis = np.array([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]) / 2
        self._nodes = source.take(3)
        self._basis = basis.astype(self._nodes.dtype)

    def _next_block(self) -> NDArray[Any]:
        nodes = np.concatenate([self._nodes, self._source.take(self._intervals)], -1)
        self._nodes = nodes[..., -3:]
        windows = np.lib.stride_tricks.sliding_window_view(nodes, 4, axis=-1)
        values = np.ascontiguousarray(windows) @ self._basis
        return values.reshape(*values.shape[:-2], -1)


def taps_for(autocorrelation: Callable[[Float], Float], reach: int) -> Float:
    """Filter of 2 reach + 1 taps, energy 1, that gives white noise this autocorrelation (a function of the lag in values)."""
    size = fft.next_fast_len(4 * reach)
    lag = np.minimum(np.arange(size), size - np.arange(size))
    return taps_from_spectrum(fft.fft(autocorrelation(lag.astype(float))).real, reach, 1.0)


def taps_from_spectrum(spectrum: Float, reach: int, energy: float | None = None) -> Float:
    """Filter of 2 reach + 1 taps whose power response is ``spectrum`` (FFT order); ``energy`` rescales it."""
    taps = np.roll(fft.ifft(np.sqrt(np.maximum(spectrum, 0))).real, reach)[: 2 * reach + 1]
    return taps * np.sqrt(energy / np.sum(taps**2)) if energy else taps


def doppler_process(doppler: float, generator: np.random.Generator) -> Stream:
    """CN(0, 1) with the classical spectrum: autocorrelation J0(2 pi f t) exp(-(f t / 24)^2 / 2), f = ``doppler``.

    ``doppler`` is in cycles per value, at most 0.25. The window rounds the spectrum's edges by 0.7 % of f; up to four periods
    of f it is within 1.4 % of 1.
    """

    def autocorrelation(lag: Float) -> Float:
        return special.j0(2 * np.pi * doppler * lag) * np.exp(-((doppler * lag / MEMORY) ** 2) / 2)

    return ColouredNoise(taps_for(autocorrelation, int(np.ceil(4 * MEMORY / doppler))), generator)


def slow_process(correlation_time: float, generator: np.random.Generator) -> Stream:
    """N(0, 1) with autocorrelation exp(-(t / T)^2); T = ``correlation_time`` in values, 4 or more."""
    taps = taps_for(lambda lag: np.exp(-((lag / correlation_time) ** 2)), int(np.ceil(4 * correlation_time)))
    return ColouredNoise(taps, generator, block=256, real=True)


def interpolated(source: Stream, factor: int) -> Stream:
    """``source`` at ``factor`` times its rate; large factors in two steps."""
    steps = (factor,) if factor <= INNER_FACTOR else (factor // INNER_FACTOR, INNER_FACTOR)
    for step in steps:
        if step > 1:
            source = Interpolated(source, step)
    return source


def split_factor(factor: float) -> int:
    """The largest whole factor, not above ``factor``, by which ``interpolated`` can go."""
    return max(1, int(factor)) if factor <= INNER_FACTOR else int(factor // INNER_FACTOR) * INNER_FACTOR

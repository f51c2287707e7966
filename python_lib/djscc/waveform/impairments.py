# SPDX-License-Identifier: GPL-3.0-or-later
"""What a radio link does to samples, one small function each, for the benchmark and the tests of the waveform.

(`djscc.channels` has the satellite channels. These are exact and independent of it, to measure the receiver by.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from djscc.waveform.format import Complex

# Single-sideband phase noise of a low-cost radio (AD936x with a TCXO, at some 2.4 GHz): offset in Hz, dBc/Hz.
PHASE_NOISE_MASK = ((10, -50), (100, -65), (1e3, -80), (1e4, -87), (1e5, -92), (1e6, -115), (1e7, -130))

_REACH = 32
_PHASES = 512


def _kernels() -> NDArray[np.float32]:
    """Windowed-sinc taps for each of ``_PHASES + 1`` fractions of a sample."""
    taps = np.arange(-_REACH + 1, _REACH + 1)[None, :] - (np.arange(_PHASES + 1) / _PHASES)[:, None]
    window = np.i0(9 * np.sqrt(np.clip(1 - (taps / _REACH) ** 2, 0, 1))) / np.i0(9)
    return (np.sinc(taps) * window).astype(np.float32)


_KERNELS = _kernels()


def delayed(samples: Complex, delay: float, ppm: float = 0.0) -> Complex:
    """The signal at the instants ``n / (1 + ppm / 10^6) - delay``, by a 64-tap windowed sinc (errors below -60 dB).

    A positive ``ppm`` stretches the signal: the transmitter's sample clock is slow, or the receiver's is fast.
    """
    count = int((samples.size + delay) * (1 + ppm * 1e-6)) + _REACH
    padded = np.concatenate([np.zeros(2 * _REACH, np.complex64), samples, np.zeros(3 * _REACH, np.complex64)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH)
    result = np.zeros(count, np.complex64)
    for at in range(max(int(delay) - _REACH, 0), count, 1 << 14):
        instants = np.arange(at, min(at + (1 << 14), count)) / (1 + ppm * 1e-6) - delay
        whole = np.floor(instants).astype(np.int64)
        kernel = _KERNELS[np.rint((instants - whole) * _PHASES).astype(np.int64)]
        rows = windows[np.clip(whole + _REACH + 1, 0, len(windows) - 1)]
        result[at : at + instants.size] = np.einsum("ij,ij->i", rows, kernel)
    return result


def turned(samples: Complex, frequency: float, rate: float = 0.0, phase: float = 0.0) -> Complex:
    """Carrier offset in cycles per sample, its rate in cycles per sample^2, phase in radians."""
    n = np.arange(samples.size, dtype=np.float64)
    cycles = frequency * n + rate / 2 * n**2
    angle = 2 * np.pi * (cycles - np.rint(cycles)) + phase
    return (samples * (np.cos(angle) + 1j * np.sin(angle))).astype(np.complex64)


def noisy(samples: Complex, variance: float, rng: np.random.Generator) -> Complex:
    """White Gaussian noise of ``variance`` a complex sample."""
    noise = rng.standard_normal((samples.size, 2), np.float32).view(np.complex64)[:, 0]
    return samples + noise * np.float32(np.sqrt(variance / 2))


def phase_noise(count: int, sample_rate: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Phase in radians with the single-sideband spectrum of ``PHASE_NOISE_MASK``, log-log between its points."""
    size = 1 << int(np.ceil(np.log2(max(count, 2))))
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    offsets, levels = np.array(PHASE_NOISE_MASK).T
    density = 2 * 10 ** (np.interp(np.log10(np.maximum(frequency, 10)), np.log10(offsets), levels) / 10)  # rad^2/Hz
    density[0] = 0
    white = rng.standard_normal(frequency.size) + 1j * rng.standard_normal(frequency.size)
    # Variance is the integral of the one-sided density.
    return np.fft.irfft(white * np.sqrt(density * sample_rate * size) / 2, size)[:count].astype(np.float32)


def rician(count: int, k_factor: float, spread: float, rng: np.random.Generator, paths: int = 24) -> Complex:
    """Fading gain (count,) of mean power 1: line of sight and ``paths`` scattered waves (Clarke's model).

    ``k_factor`` is linear, ``spread`` the largest Doppler shift in cycles per sample.
    """
    step = 64
    n = np.arange(-1, count // step + 4) * step
    shift = spread * np.cos(rng.uniform(0, 2 * np.pi, paths))
    start = rng.uniform(0, 2 * np.pi, paths)
    scattered = np.exp(1j * (2 * np.pi * np.outer(n, shift) + start)).sum(axis=1) / np.sqrt(paths)
    gain = np.sqrt(k_factor / (1 + k_factor)) + np.sqrt(1 / (1 + k_factor)) * scattered
    return CubicSpline(n, gain)(np.arange(count)).astype(np.complex64)


def front_end(samples: Complex, dc: complex, image: complex, bits: int, full_scale: float) -> Complex:
    """A receiver's DC offset, IQ image (its complex amplitude over the signal's) and quantisation to ``bits``."""
    samples = samples + image * samples.conj() + dc
    step = full_scale / 2 ** (bits - 1)
    limit = full_scale - step
    real = np.clip(np.rint(samples.real / step) * step, -full_scale, limit)
    imag = np.clip(np.rint(samples.imag / step) * step, -full_scale, limit)
    return (real + 1j * imag).astype(np.complex64)

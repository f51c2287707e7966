# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds preambles in noise, over the whole range of carrier offsets, with two correlators."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from djscc.waveform.format import BOOST, CHIRP_SYMBOLS, Complex, WaveformSettings, preamble, rrc_response
from djscc.waveform.pulse import vertex

MAX_CFO = 0.085  # cycles per symbol, a little over the 8 % of the working range
SINGLE_THRESHOLD = 7.0  # of each chirp and
JOINT_THRESHOLD = 36.0  # of their sum, in units of the mean that noise gives
_SEARCH_SYMBOLS = (
    1280  # the strongest peak within so many symbols of the first is taken: a strong burst's edge comes first
)
_BLOCK_SYMBOLS = 8192
_MOST_PEAKS = 1024  # of one chirp in a block that are paired with the other's


@dataclass(frozen=True)
class Detection:
    """A preamble found: instant of its first symbol (samples after the block's first), offset (cycles/sample), strength."""

    start: float
    frequency: float
    strength: float


class Detector:
    """Correlates with the two chirps of the preamble and pairs their peaks.

    Each correlation is divided by the in-band energy under it, so that the threshold means the same in noise, in payload,
    and at the edge of a burst. In white noise the metric is exponential of mean 1 and a false alarm takes
    e^-JOINT_THRESHOLD on the sum of two, over some 330 pairs a sample. A carrier offset f (cycles/symbol) displaces the
    peaks by -f N and +f N symbols: half their distance is the offset, their middle the time.

    Working range: offsets within +-8.5 % of the symbol rate, Es/N0 of the payload from -11 dB, any level and delay.
    """

    def __init__(self, settings: WaveformSettings) -> None:
        self.sps = sps = settings.samples_per_symbol
        self.block = _BLOCK_SYMBOLS * sps
        self._chirp = CHIRP_SYMBOLS * sps
        self._shift = math.ceil(MAX_CFO * CHIRP_SYMBOLS * sps)
        self.lead = self._shift  # starts are looked for from this sample of a block on
        # Room at the end of a block for the pair that belongs to its last start, and for the search after the first peak.
        self.hop = self.block - 2 * self._chirp - 2 * self._shift - _SEARCH_SYMBOLS * sps
        response = rrc_response(scipy.fft.fftfreq(self.block, 1 / sps), settings.roll_off)
        self._in_band = response.astype(np.float32)
        self._templates = []
        for chirp in np.split(preamble() / BOOST, 2):
            impulses = np.zeros(self.block, np.complex128)
            impulses[: chirp.size * sps : sps] = chirp
            spectrum = np.fft.fft(impulses).conj() * response
            self._templates.append((spectrum / math.sqrt(CHIRP_SYMBOLS)).astype(np.complex64))

    def __call__(self, samples: Complex) -> Detection | None:
        """The preamble in ``block`` samples whose first symbol is among the first ``hop``, or None."""
        return self._pair(*self.metrics(samples))

    def metrics(self, samples: Complex) -> list[NDArray[np.float32]]:
        """Power of the correlation with the up- and the down-chirp at each start, over its mean in noise."""
        spectrum = scipy.fft.fft(samples)
        energy = np.abs(scipy.fft.ifft(spectrum * self._in_band)) ** 2
        total = np.concatenate([[0.0], np.cumsum(energy, dtype=np.float64)])
        under = (total[self._chirp :] - total[: -self._chirp]) / self._chirp  # mean in-band power under the chirp
        floor = 1e-9 * float(np.vdot(samples, samples).real) / self.block  # where all power is out of band
        under = np.maximum(under, floor + 1e-30).astype(np.float32)
        return [self._metric(spectrum, template, under) for template in self._templates]

    def _metric(self, spectrum: Complex, template: Complex, under: NDArray[np.float32]) -> NDArray[np.float32]:
        correlation = scipy.fft.ifft(spectrum * template)[: under.size]
        power: NDArray[np.float32] = correlation.real**2 + correlation.imag**2
        return power / under

    def _pair(self, up: NDArray[np.float32], down: NDArray[np.float32]) -> Detection | None:
        ups = _peaks(up)
        downs = _peaks(down) - self._chirp
        # Peaks at start - f N and start + f N: pairs of these with a sum over the threshold.
        low = np.searchsorted(downs, ups - 2 * self._shift)
        high = np.searchsorted(downs, ups + 2 * self._shift, side="right")
        counts = high - low
        left = np.repeat(np.arange(ups.size), counts)
        right = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(low, counts)
        u, d = ups[left], downs[right]
        strength = up[u] + down[d + self._chirp]
        start = (u + d) / 2
        keep = (strength > JOINT_THRESHOLD) & (start >= self._shift)
        if not keep.any():
            return None
        u, d, strength, start = u[keep], d[keep], strength[keep], start[keep]
        first = start.min()
        if first >= self._shift + self.hop:
            return None
        strength[start > first + _SEARCH_SYMBOLS * self.sps] = 0
        best = int(strength.argmax())
        peak_up = u[best] + vertex(np.sqrt(up[u[best] - 1 : u[best] + 2]), 1)
        peak_down = d[best] + vertex(np.sqrt(down[d[best] + self._chirp - 1 : d[best] + self._chirp + 2]), 1)
        return Detection(
            start=(peak_up + peak_down) / 2,
            frequency=(peak_down - peak_up) / 2 / self._chirp / self.sps,
            strength=float(strength[best]),
        )


def _peaks(metric: NDArray[np.float32]) -> NDArray[np.int64]:
    """Where the metric is over the threshold; the highest places only, should these be very many."""
    threshold = SINGLE_THRESHOLD
    if np.count_nonzero(metric > threshold) > _MOST_PEAKS:
        threshold = float(np.partition(metric, -_MOST_PEAKS)[-_MOST_PEAKS])
    return np.flatnonzero(metric >= threshold)

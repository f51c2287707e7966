# SPDX-License-Identifier: GPL-3.0-or-later
"""Matched filter, fractional delay and decimation in one FFT: symbols at any instants of a stretch of samples."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from djscc.waveform.format import Complex, Float, WaveformSettings, rrc_response, turn

_PAD = 26  # symbols of the pulse that are kept on either side


class MatchedFilter:
    """Takes runs of symbols, evenly spaced within a run, out of samples.

    The filter is the root-raised-cosine response itself, moved to the carrier offset; the delay is a phase ramp over its
    frequencies; folding the spectrum decimates. Working range: carrier offsets up to 10 % of the symbol rate; a run is
    taken at one delay, so that a clock offset of 50 ppm displaces the ends of a run of 164 symbols by 0.004 symbols.
    """

    def __init__(self, settings: WaveformSettings, run: int) -> None:
        self.sps = settings.samples_per_symbol
        self.roll_off = settings.roll_off
        self.run = run
        self.pad = _PAD * self.sps
        self.size = self.sps * scipy.fft.next_fast_len(run + 2 * _PAD)
        self._frequency = scipy.fft.fftfreq(self.size)
        self._tuned_to = math.nan
        self._tune(0.0)

    def _tune(self, frequency: float) -> None:
        """Prepare the responses for a carrier offset in cycles per sample; it is the same through a frame."""
        if frequency == self._tuned_to:
            return
        self._tuned_to = frequency
        response = rrc_response((self._frequency - frequency) * self.sps, self.roll_off) / math.sqrt(self.sps)
        self._response = (response * np.exp(2j * np.pi * self.pad * self._frequency)).astype(np.complex64)
        self._slope = (2j * np.pi * self.sps * (self._frequency - frequency)).astype(np.complex64)

    def __call__(
        self, samples: Complex, starts: Float, frequency: float, derivative: bool = False
    ) -> tuple[Complex, Complex]:
        """Symbols (runs, run) whose first instants are ``starts`` (runs,) in samples after samples[0].

        ``frequency`` is the carrier offset in cycles per sample; symbols are turned back by it, with phase 0 at
        samples[0]. The second result, where asked for, is their derivative by time in symbols. Samples before and after
        the stretch count as zeros.
        """
        first = np.floor(starts).astype(np.int64)
        low = int(first.min()) - self.pad
        high = int(first.max()) - self.pad + self.size
        if low < 0 or high > samples.size:
            stretch = np.zeros(high - low, np.complex64)
            a, b = max(low, 0), min(high, samples.size)
            if b > a:
                stretch[a - low : b - low] = samples[a:b]
        else:
            stretch = samples[low:high]
        windows = np.lib.stride_tricks.sliding_window_view(stretch, self.size)[first - self.pad - low]
        spectrum = scipy.fft.fft(windows, axis=1, overwrite_x=True)
        self._tune(frequency)
        turns = np.outer(starts - first, self._frequency)
        spectrum *= turn(turns)
        spectrum *= self._response
        instants = starts[:, None] + self.sps * np.arange(self.run)
        back = turn(-frequency * instants)
        symbols = self._fold(spectrum) * back
        if not derivative:
            return symbols, symbols
        return symbols, self._fold(spectrum * self._slope) * back

    def stretch(self, samples: Complex, start: float, count: int, frequency: float, spacing: float) -> Complex:
        """``count`` symbols that lie ``spacing`` samples apart from ``start`` on."""
        runs = -(-count // self.run)
        return self(samples, start + spacing * self.run * np.arange(runs), frequency)[0].reshape(-1)[:count]

    def _fold(self, spectrum: Complex) -> Complex:
        folded = spectrum.reshape(len(spectrum), self.sps, -1).sum(axis=1)
        return scipy.fft.ifft(folded, axis=1, overwrite_x=True)[:, : self.run]

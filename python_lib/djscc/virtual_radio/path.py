# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transmitter's samples go through on their way to one receiver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from djscc.channels import SampleChannel
from djscc.channels.filter_bank import TAPS, interpolation_taps
from djscc.channels.resampling import VariableDelay
from djscc.channels.streams import Complex, phasor
from djscc.virtual_radio.radio import Receiver, Transmitter
from djscc.virtual_radio.settings import AirSettings
from djscc.waveform import WaveformSettings

FILTER_TAPS = 161
TRANSITION = 0.04  # of the transmitter's sample rate, between what the receiver's filter passes and what it stops
NEAR = (
    0.1  # of the lower sample rate: within this offset all of an oversampled signal is heard, and nothing is filtered
)


class SilentDelay(VariableDelay):
    """A variable delay that does no sums where there is nothing but silence."""

    def _interpolate(self, buffer: Complex, position: NDArray[np.float64]) -> Complex:
        first = max(int(position[0]) - self._start - TAPS, 0)
        last = int(position[-1]) - self._start + TAPS
        if not buffer[first:last].any():
            return np.zeros(len(position), np.complex64)
        return super()._interpolate(buffer, position)


class _Filter:
    """A short filter over a stream, (T,) complex taps; output n is that of input n - T // 2."""

    def __init__(self, taps: NDArray[np.complex64]) -> None:
        self._taps = taps.astype(np.complex64)
        self._kept = np.zeros(len(taps) - 1, np.complex64)

    def __call__(self, samples: Complex) -> Complex:
        buffer = np.concatenate([self._kept, samples])
        self._kept = buffer[len(samples) :]
        if not buffer.any():
            return np.zeros(len(samples), np.complex64)
        if len(self._taps) * 4 > len(samples):
            return np.convolve(buffer, self._taps, "valid").astype(np.complex64)
        return signal.oaconvolve(buffer, self._taps, "valid").astype(np.complex64)


def echo_taps(echoes: tuple[tuple[float, float, float], ...], rate: float) -> NDArray[np.complex64]:
    """Taps of the direct path (the first, 1) and its echoes at a sample rate, fractional delays by interpolation.

    All of it is TAPS / 2 samples late.
    """
    reach = TAPS // 2
    longest = max(delay for delay, _, _ in echoes) * rate
    taps = np.zeros(int(longest) + 1 + TAPS, np.complex128)
    taps[reach] = 1
    for delay, gain_db, phase_deg in echoes:
        whole = int(delay * rate)
        # an impulse response is these taps backwards, which is those of the rest of the sample, backwards again
        shape = interpolation_taps(np.array(delay * rate - whole))
        taps[whole + 1 : whole + 1 + TAPS] += 10 ** (gain_db / 20) * np.exp(1j * np.radians(phase_deg)) * shape
    return taps.astype(np.complex64)


class Path:
    """From ``transmitter`` to ``receiver``: ``push`` takes samples of the one's clock, returns those of the other's.

    Full scale is 1 on either side. The receiver hears what falls within its sample rate around the frequency it is tuned to.
    """

    def __init__(self, air: AirSettings, transmitter: Transmitter, receiver: Receiver, seed: int) -> None:
        self.air, self.transmitter, self.receiver = air, transmitter, receiver
        self.generations = (transmitter.generation, receiver.generation)
        sent, heard = transmitter.true_rate, receiver.true_rate
        self._step = sent / heard  # samples sent in one sample heard
        first = (receiver.anchor + receiver.index / heard - transmitter.anchor - air.delay_s) * sent - transmitter.index
        self._late = -first
        self._resample = SilentDelay(self._delay)
        self._channel: SampleChannel | None = None
        if air.channel is not None:
            without = replace(air.channel, snr_db=None, gain_db=0.0, cfo_hz=0.0, clock_ppm=0.0, delay_samples=0.0)
            self._channel = SampleChannel(without, transmitter.rate, 2, WaveformSettings().mean_power, seed)
        self._echoes: _Filter | None = None
        if air.echoes:
            self._echoes = _Filter(echo_taps(air.echoes, sent))
            self._late -= TAPS // 2  # the filter is as late
        self._decimates = heard < sent * (1 - 2e-3)
        self._turn_rate = sent if self._decimates else heard
        self._phase = 0.0  # cycles
        self._ramp: Complex = np.zeros(0, np.complex64)
        self._ramp_step = 0.0
        self._band: _Filter | None = None
        self._offset = 0.0
        self._deaf = False
        self._tune(transmitter.true_frequency - receiver.true_frequency, first=True)

    def _delay(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._late + index * (1 - self._step)

    def _tune(self, offset: float, first: bool = False) -> None:
        """Another frequency offset; the phase goes on from where it is."""
        if offset == self._offset and not first:
            return
        self._offset = offset
        sent, heard = self.transmitter.true_rate, self.receiver.true_rate
        low, high = max(-heard / 2 - offset, -sent / 2), min(heard / 2 - offset, sent / 2)
        self._deaf = high - low < 2 * TRANSITION * sent
        filtered = self._decimates or abs(offset) > NEAR * min(sent, heard)
        had = self._band is not None
        self._band = None
        if filtered and not self._deaf:
            width = (high - low) / sent - TRANSITION
            taps = signal.firwin(FILTER_TAPS, min(width, 0.999), window=("kaiser", 8.0))
            middle = (high + low) / 2 / sent
            turned = taps * np.exp(2j * np.pi * middle * (np.arange(FILTER_TAPS) - FILTER_TAPS // 2))
            self._band = _Filter(turned.astype(np.complex64))
        if first and self._band is not None:
            self._late -= FILTER_TAPS // 2
        elif not first and had != (self._band is not None) and not self._deaf:
            self._late += FILTER_TAPS // 2 * (1 if had else -1)

    def push(self, samples: Complex) -> Complex:
        """Take samples of the transmitter's clock; return those that the receiver hears, as many as are decided."""
        self._tune(self.transmitter.true_frequency - self.receiver.true_frequency)
        if self._channel is not None:
            samples = self._channel.push(samples)
        if self._echoes is not None:
            samples = self._echoes(samples)
        if self._deaf:
            samples = np.zeros(len(samples), np.complex64)
        elif self._band is not None:
            samples = self._band(samples)
        gain_db = self.transmitter.level_dbm - self.air.path_loss_db - self.receiver.level_dbm
        if self._decimates:
            return self._resample.push(self._turned(samples, gain_db))
        return self._turned(self._resample.push(samples), gain_db)

    def _turned(self, samples: Complex, gain_db: float) -> Complex:
        """Turn by the frequency offset, and scale."""
        count = len(samples)
        step = self._offset / self._turn_rate
        if count > len(self._ramp) or step != self._ramp_step:
            self._ramp = phasor(step * np.arange(max(count, len(self._ramp)), dtype=np.float64))
            self._ramp_step = step
        start = np.complex64(10 ** (gain_db / 20) * np.exp(2j * np.pi * self._phase))
        self._phase = (self._phase + step * count) % 1
        return samples * (self._ramp[:count] * start)

# SPDX-License-Identifier: GPL-3.0-or-later
"""A described channel on a stream of samples: the library side of the channel's GNU Radio block."""

from __future__ import annotations

import numpy as np

from djscc.channels.description import ChannelDescription
from djscc.channels.fading import FlatFading
from djscc.channels.fading_parameters import NtnTdl
from djscc.channels.hardware import AmplifierStage, Converter, IqStage
from djscc.channels.hardware_parameters import FrontEnd
from djscc.channels.ntn_tdl import TappedDelayLine
from djscc.channels.phase_noise import PhaseNoise
from djscc.channels.resampling import VariableDelay
from djscc.channels.satellite_pass import PassGain, SatellitePass
from djscc.channels.streams import Complex, Float, Stage, complex_normal, phasor, random_generator


class SampleChannel:
    """Streaming channel: ``push(samples)`` returns what arrives, complex64.

    In the order of a link: the transmitter's converter, I/Q imbalance and phase noise, amplifier, delay and sample clock,
    fading, Doppler shift and level of the pass, carrier frequency offset, noise, the receiver's phase noise, I/Q imbalance
    and converter, level. A part that the description leaves out costs nothing.

    Args:
        description: the channel.
        sample_rate: Hz.
        samples_per_symbol: of the signal, so that Es/N0 is right: the noise variance per sample is
            signal_power * samples_per_symbol / (Es/N0).
        signal_power: mean power per sample of the modulated signal during a frame.
        seed: the same seed gives the same channel. Output is the same for all push sizes to within float32 rounding (where
            the receiver's converter rounds it to another level, by that one level).
    """

    def __init__(
        self,
        description: ChannelDescription,
        sample_rate: float,
        samples_per_symbol: float,
        signal_power: float,
        seed: int = 0,
    ) -> None:
        self.description = description
        self._rate = sample_rate
        self._symbol_energy = signal_power * samples_per_symbol
        self.satellite_pass: SatellitePass | None = None
        """The pass, where the description has an orbit; ``satellite_pass.state(time)`` tells what is true."""
        snr_db = description.snr_db
        if description.orbit:
            symbol_rate = sample_rate / samples_per_symbol
            self.satellite_pass = SatellitePass(description.orbit, description.link, symbol_rate, snr_db)
            snr_db = self.satellite_pass.peak_snr_db
        self.noise_variance = 0.0
        """Variance of the complex noise per sample, before ``gain_db``."""
        if snr_db is not None:
            self.noise_variance = self._symbol_energy / 10 ** (snr_db / 10)
        stages: list[Stage] = []
        if description.transmitter:
            stages += _front_end(description.transmitter, sample_rate, signal_power, seed, "transmitter")
        if description.amplifier:
            stages.append(AmplifierStage(description.amplifier, signal_power))
        if description.delay_samples or description.clock_ppm or self.satellite_pass:
            stages.append(VariableDelay(self._delay_samples))
        if isinstance(description.fading, NtnTdl):
            stages.append(TappedDelayLine(description.fading, sample_rate, seed))
        elif description.fading:
            stages.append(_Gain(FlatFading(description.fading, sample_rate, seed)))
        if self.satellite_pass:
            stages.append(PassGain(self.satellite_pass, sample_rate))
        self._carrier = _CarrierOffset(description.cfo_hz / sample_rate)
        self._noise = _Noise(self.noise_variance, seed)
        stages += [self._carrier, self._noise]
        if description.receiver:
            power = signal_power + self.noise_variance
            stages += _front_end(description.receiver, sample_rate, power, seed, "receiver")
        if description.gain_db:
            stages.append(_Level(10 ** (description.gain_db / 20)))
        self._stages = stages

    def push(self, samples: Complex) -> Complex:
        """Take any number of samples; return those that arrive, which may be none, or more than were taken."""
        signal = np.array(samples, np.complex64)
        for stage in self._stages:
            signal = stage.push(signal)
        return signal

    def change(self, *, snr_db: float | None = None, cfo_hz: float | None = None) -> None:
        """Another mean Es/N0 or carrier frequency offset from the next sample on; None leaves it. The phase does not jump.

        A receiver's converter keeps the full scale that it was set up with.
        """
        changes = {"snr_db": snr_db, "cfo_hz": cfo_hz}
        self.description = self.description.replace({key: value for key, value in changes.items() if value is not None})
        if snr_db is not None:
            if self.satellite_pass:
                self.satellite_pass.peak_snr_db = snr_db
            self.noise_variance = self._noise.variance = self._symbol_energy / 10 ** (snr_db / 10)
        if cfo_hz is not None:
            self._carrier.tune(cfo_hz / self._rate)

    def flush(self) -> Complex:
        """What is still under way after the last sample, and a little noise."""
        return self.push(np.zeros(self.lag, np.complex64))

    @property
    def lag(self) -> int:
        """Samples that must follow the last one before it arrives (a delay adds nothing: it comes out as silence before)."""
        return sum(stage.lag for stage in self._stages)

    def _delay_samples(self, index: Float) -> Float:
        delay = self.description.delay_samples - self.description.clock_ppm * 1e-6 * index
        if self.satellite_pass:
            delay = delay + self._rate * self.satellite_pass.delay_s(index / self._rate)
        return delay


def _front_end(radio: FrontEnd, rate: float, power: float, seed: int, side: str) -> list[Stage]:
    """The stages of a radio, in the direction of the signal."""
    stages: list[Stage] = []
    if radio.bits is not None:
        stages.append(Converter(radio.bits, radio.headroom_db, power))
    if radio.iq_gain_db or radio.iq_phase_deg or radio.dc_dbc is not None:
        stages.append(IqStage(radio, power))
    if radio.phase_noise is not None:
        stages.append(PhaseNoise(radio.phase_noise, rate, seed, f"{side} phase noise"))
    return stages if side == "transmitter" else stages[::-1]


class _Gain(Stage):
    """Flat fading."""

    def __init__(self, fading: FlatFading) -> None:
        self._fading = fading

    def push(self, samples: Complex) -> Complex:
        return samples * self._fading.take(len(samples))


class _CarrierOffset(Stage):
    """A frequency offset, in cycles per sample."""

    def __init__(self, step: float) -> None:
        self._step, self._index = step, 0
        self._phase = 0.0  # in cycles, from offsets that were tuned before

    def tune(self, step: float) -> None:
        """Go on with another offset, from the phase that was reached."""
        self._phase = (self._phase + (self._step - step) * self._index) % 1
        self._step = step

    def push(self, samples: Complex) -> Complex:
        start, self._index = self._index, self._index + len(samples)
        if self._step == 0 and self._phase == 0:
            return samples
        index = np.arange(start, self._index, dtype=np.float64)
        return samples * phasor(self._phase + self._step * index)


class _Noise(Stage):
    """White circular Gaussian noise of a variance that may be set anew."""

    def __init__(self, variance: float, seed: int) -> None:
        self.variance, self._generator = variance, random_generator(seed, "noise")

    def push(self, samples: Complex) -> Complex:
        if self.variance == 0:
            return samples
        return samples + complex_normal(self._generator, len(samples), self.variance)


class _Level(Stage):
    """A constant gain."""

    def __init__(self, gain: float) -> None:
        self._gain = np.float32(gain)

    def push(self, samples: Complex) -> Complex:
        return samples * self._gain

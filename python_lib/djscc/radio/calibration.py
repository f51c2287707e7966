# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding gains: known frames are sent and received, and what the receiver's converter got says how far its gain may go.

A receiver is set well when its peaks stay ``HEADROOM_DB`` below full scale: above, rare peaks clip; far below, the converter's own
noise counts. Whether the transmitter's gain is right shows in the SNR: it should rise dB by dB with it, until an amplifier limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.channels import ChannelDescription, SampleChannel
from djscc.radio.errors import OutOfLimitsError, StreamError
from djscc.radio.prbs import TestFrames, TestSink
from djscc.waveform import Modulator, Receiver, WaveformSettings

HEADROOM_DB = 6.0  # of the peaks below full scale
TOLERANCE_DB = 3.0  # within which a level is left as it is
SAME_DB = 0.5  # of SNR, that are no reason for another gain
FULL_SCALE = 0.98  # of I or Q, from which on a sample is taken for clipped
CLIPPED_SHARE = 1e-4  # of the samples, from which on a receiver is overdriven
OVERDRIVEN_STEP_DB = 12.0  # by which the gain is lowered where clipping hides by how much it is too high
BITS = 12  # of a simulated converter


class LevelMeter:
    """Peak and clipping of what a receiver got. Full scale is 1 in I and in Q."""

    def __init__(self) -> None:
        self.samples = self.clipped = 0
        self.peak = 0.0

    def write(self, samples: NDArray[np.complex64]) -> None:
        """The next samples."""
        if not len(samples):
            return
        largest = np.maximum(np.abs(samples.real), np.abs(samples.imag))
        self.samples += len(samples)
        self.peak = max(self.peak, float(largest.max()))
        self.clipped += int(np.count_nonzero(largest >= FULL_SCALE))

    def gap(self, count: int) -> None:
        """Lost samples have no level."""

    def overrun(self, first: int, last: int) -> None:
        """Nor have these."""

    @property
    def clipped_share(self) -> float:
        """Of the samples."""
        return self.clipped / max(self.samples, 1)

    @property
    def peak_dbfs(self) -> float:
        """Of the larger of I and Q."""
        return 20 * float(np.log10(max(self.peak, 1e-9)))


@dataclass(frozen=True)
class Measurement:
    """What one pair of gains gave; SNR, CFO and clock are None where no frame was received."""

    transmit_gain: float
    receive_gain: float
    frames_sent: int
    frames_received: int
    peak_dbfs: float
    clipped: float
    snr_db: float | None
    snr_est_db: float | None
    evm_percent: float | None
    cfo_hz: float | None
    clock_ppm: float | None
    lost_samples: int

    @classmethod
    def of(cls, gains: tuple[float, float], sent: int, meter: LevelMeter, summary: dict[str, Any]) -> Measurement:
        """From what a meter and a TestSink saw."""
        names = ("frames_received", "snr_db", "snr_est_db", "evm_percent", "cfo_hz", "clock_ppm", "lost_samples")
        values = {name: summary[name] for name in names}
        return cls(*gains, sent, peak_dbfs=round(meter.peak_dbfs, 2), clipped=meter.clipped_share, **values)

    @property
    def overdriven(self) -> bool:
        """Whether the receiver clips."""
        return self.clipped > CLIPPED_SHARE

    def to_dict(self) -> dict[str, Any]:
        """By name, for JSON."""
        return asdict(self)

    def line(self) -> str:
        """In words."""
        text = (
            f"gains {self.transmit_gain:g} and {self.receive_gain:g} dB: {self.frames_received} of {self.frames_sent} frames, "
            f"peak {self.peak_dbfs:.1f} dBFS"
        )
        if self.clipped:
            text += f", {100 * self.clipped:.3g} % clipped"
        if self.snr_db is not None and self.cfo_hz is not None:
            text += f", Es/N0 {self.snr_db:.1f} dB, CFO {self.cfo_hz:.0f} Hz, clock {self.clock_ppm:.1f} ppm"
        return text


@dataclass(frozen=True)
class Suggestion:
    """The gains to use, and why."""

    transmit_gain: float
    receive_gain: float
    reason: str


def next_gain(measured: Measurement, limits: tuple[float, float]) -> float:
    """The receiver's gain that ``measured`` suggests, within its limits."""
    if measured.overdriven:
        wanted = measured.receive_gain - OVERDRIVEN_STEP_DB
    else:
        wanted = measured.receive_gain - HEADROOM_DB - measured.peak_dbfs
    return float(np.clip(np.floor(wanted), *limits))


def calibrate(
    measure: Callable[[float, float], Measurement],
    transmit_gain: float,
    receive_gain: float,
    receive_limits: tuple[float, float] = (-np.inf, np.inf),
    rounds: int = 5,
    tell: Callable[[Measurement], None] = lambda measured: None,
) -> tuple[Suggestion, list[Measurement]]:
    """Change the receiver's gain until its peaks are right; the transmitter's, which others may depend on, is only advised upon.

    Returns the suggestion and all that was measured.
    """
    if rounds < 1:
        raise StreamError(f"{rounds} rounds: give 1 or more")
    done: list[Measurement] = []
    while len(done) < rounds:
        try:
            measured = measure(transmit_gain, receive_gain)
        except OutOfLimitsError as error:  # the receiver's limits are narrower than those given
            nearest = float(np.clip(receive_gain, error.low, error.high))
            if error.name != "--gain" or error.value != receive_gain or nearest == receive_gain:
                raise
            receive_limits = max(receive_limits[0], error.low), min(receive_limits[1], error.high)
            receive_gain = nearest
            continue
        tell(measured)
        done.append(measured)
        wanted = next_gain(measured, receive_limits)
        if wanted == receive_gain or (not measured.overdriven and abs(wanted - receive_gain) <= TOLERANCE_DB):
            break
        receive_gain = wanted
    good = [m for m in done if not m.overdriven and m.snr_db is not None]
    best = max(good, key=lambda m: (m.frames_received, m.snr_db or 0.0), default=done[-1])
    for later in good:  # its headroom is better, and noise alone makes a difference of so little
        if later.frames_received == best.frames_received and (later.snr_db or 0.0) > (best.snr_db or 0.0) - SAME_DB:
            best = later
    return Suggestion(transmit_gain, best.receive_gain, _reason(best, receive_limits)), done


def _reason(best: Measurement, limits: tuple[float, float]) -> str:
    if best.overdriven:
        return "the receiver is overdriven at its lowest gain tried: lower the transmitter's, or put in an attenuator"
    if not best.frames_received or best.snr_db is None:
        return "no frame was received: check frequency, antennas, cable, and raise the transmitter's gain by 10 dB"
    if best.receive_gain >= limits[1] and best.peak_dbfs < -HEADROOM_DB - 10:
        return f"the receiver's gain is at its end and its peaks are at {best.peak_dbfs:.0f} dBFS: raise the transmitter's gain"
    if best.snr_db > 35:
        return f"Es/N0 is {best.snr_db:.0f} dB, more than images use: the transmitter's gain may be lowered"
    return f"peaks at {best.peak_dbfs:.0f} dBFS, Es/N0 {best.snr_db:.1f} dB: more with more transmitter gain, until it limits"


class SimulatedBench:
    """Transmitter, channel and a receiver whose 12-bit converter clips: gains are dB on the samples."""

    def __init__(
        self, channel: ChannelDescription, settings: WaveformSettings, loss_db: float, frames: int, seed: int
    ) -> None:
        self._channel, self._settings, self._loss_db, self._frames, self._seed = (
            channel,
            settings,
            loss_db,
            frames,
            seed,
        )

    def measure(self, transmit_gain: float, receive_gain: float) -> Measurement:
        """Send and receive with these gains."""
        settings = self._settings
        modulator, receiver, sink, meter = (
            Modulator(settings),
            Receiver(settings),
            TestSink(settings=settings),
            LevelMeter(),
        )
        sps = settings.samples_per_symbol
        described = self._channel
        if described.snr_db is not None:  # that of transmit gain 0
            described = described.replace(snr_db=described.snr_db + transmit_gain)
        channel = SampleChannel(described, settings.sample_rate, sps, settings.mean_power, self._seed)
        gain = np.float32(10 ** ((transmit_gain + receive_gain - self._loss_db) / 20))
        pieces = [*(modulator.modulate(*frame) for frame in TestFrames(self._frames)), modulator.guard()]
        for piece in pieces:
            self._receive(channel.push(piece), gain, receiver, sink, meter)
        self._receive(channel.flush(), gain, receiver, sink, meter)
        for frame in receiver.flush():
            sink.accept(frame)
        return Measurement.of((transmit_gain, receive_gain), self._frames, meter, sink.summary())

    @staticmethod
    def _receive(
        samples: NDArray[np.complex64], gain: np.float32, receiver: Receiver, sink: TestSink, meter: LevelMeter
    ) -> None:
        steps = 2 ** (BITS - 1)
        levels = np.round((samples * gain).view(np.float32) * steps)
        received = (np.clip(levels, -steps, steps - 1) / steps).astype(np.float32).view(np.complex64)
        meter.write(received)
        for frame in receiver.push(received):
            sink.accept(frame)

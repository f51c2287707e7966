# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of one radio: what it is tuned to, where its clocks stand, which streams its client has open."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from djscc.virtual_radio.models import Range
from djscc.virtual_radio.settings import RadioSettings, VirtualRadioError
from djscc.virtual_radio.streams import ReceiveStream, TransmitStream, Words

AGC_TARGET_DBFS = -15.0
AGC_DB_PER_S = 200.0
AGC_DEADBAND_DB = 2.0


class OutOfRangeError(VirtualRadioError):
    """A value that the radio refuses."""


class Side:
    """The transmitting or the receiving half of a radio: tuning, gain, and a sample clock.

    Sample ``index`` of it is at air time ``anchor + index / true_rate``, in seconds.
    """

    def __init__(self, settings: RadioSettings, gain: float, gains: Range) -> None:
        self.settings = settings
        model = settings.model
        self.frequency = 2.4e9
        self.gain, self.gains = gain, gains
        self.bandwidth = min(model.bandwidth.high, 18e6)
        self.rate = 2.5e6
        self.anchor = 0.0
        self.index = 0
        self.generation = 0
        """Counts changes of the sample rate: paths from or to this side start anew."""

    @property
    def true_rate(self) -> float:
        """Samples per second of air time."""
        return self.rate * (1 + self.settings.clock_ppm * 1e-6)

    @property
    def true_frequency(self) -> float:
        """Hz on the air."""
        return self.frequency * (1 + self.settings.lo_ppm * 1e-6)

    def due(self, time: float) -> int:
        """Samples from ``index`` up to this air time."""
        return max(math.floor((time - self.anchor) * self.true_rate) - self.index, 0)

    def set_rate(self, rate: float) -> None:
        """Another sample rate from here on."""
        check("sample rate", rate, self.settings.model.rate, "Hz")
        if rate != self.rate:
            self.anchor += self.index / self.true_rate
            self.index, self.rate = 0, rate
            self.generation += 1

    def set_frequency(self, frequency: float) -> None:
        """Tune."""
        model = self.settings.model
        check("frequency", frequency, model.frequency, "Hz")
        self.frequency = model.frequency.nearest(frequency)

    def set_gain(self, gain: float) -> None:
        """Gain in dB as the radio's own interface counts it."""
        check("gain", gain, self.gains, "dB")
        self.gain = self.gains.nearest(gain)

    def set_bandwidth(self, bandwidth: float) -> None:
        """Analogue bandwidth; kept and told, but no filter is modelled."""
        check("bandwidth", bandwidth, self.settings.model.bandwidth, "Hz")
        self.bandwidth = bandwidth

    def device_seconds(self, index: int) -> float:
        """Time of a sample on the radio's own clock, which runs clock_ppm fast."""
        return self.anchor * (1 + self.settings.clock_ppm * 1e-6) + index / self.rate

    def index_at(self, device_seconds: float) -> int:
        """The sample at a time of the radio's own clock."""
        return round((device_seconds - self.anchor * (1 + self.settings.clock_ppm * 1e-6)) * self.rate)


class Transmitter(Side):
    """The transmitting half."""

    def __init__(self, settings: RadioSettings) -> None:
        gains = settings.model.transmit_gain
        super().__init__(settings, gains.low + 10 if settings.kind == "usrp" else -10.0, gains)
        self.stream: TransmitStream | None = None

    @property
    def level_dbm(self) -> float:
        """Power of a full-scale carrier."""
        return self.settings.model.transmit_level_dbm(self.gain)


class Receiver(Side):
    """The receiving half."""

    def __init__(self, settings: RadioSettings) -> None:
        gains = settings.model.receive_gain
        super().__init__(settings, 30.0, gains)
        self.automatic_gain = settings.kind == "pluto"
        """Gain control, as a Pluto has it on until it is told otherwise."""
        self.stream: ReceiveStream | None = None
        self.power_dbfs = -100.0
        """Mean power over full scale of what was last received."""
        self.clipped_samples = 0

    @property
    def level_dbm(self) -> float:
        """Power of a carrier that fills the converter."""
        return self.settings.model.receive_level_dbm(self.gain)

    def convert(self, samples: NDArray[np.complex64]) -> Words:
        """Samples, 1 being full scale, as the converter gives them: (N, 2); 12 bits are -2048 to 2047 on a Pluto.

        A USRP's are moved up to 16 bits.
        """
        bits = self.settings.bits or self.settings.model.bits
        shift = 16 - bits if self.settings.kind == "usrp" else 12 - bits
        top = np.float32(2 ** (bits - 1))
        parts = np.ascontiguousarray(samples).view(np.float32) * top
        np.rint(parts, out=parts)
        over = (parts > top - 1) | (parts < -top)
        if over.any():
            self.clipped_samples += int(np.count_nonzero(over.reshape(-1, 2).any(1)))
            np.clip(parts, -top, top - 1, out=parts)
        if shift:
            parts *= np.float32(2.0**shift)
        return parts.astype(np.int16).reshape(-1, 2)

    def watch_level(self, samples: NDArray[np.complex64]) -> None:
        """Measure the level; automatic gain moves towards AGC_TARGET_DBFS, by at most AGC_DB_PER_S."""
        if not len(samples):
            return
        power = float(np.vdot(samples, samples).real) / len(samples)
        self.power_dbfs = 10 * math.log10(power + 1e-12)
        if not self.automatic_gain:
            return
        error = AGC_TARGET_DBFS - self.power_dbfs
        if abs(error) > AGC_DEADBAND_DB:
            largest = AGC_DB_PER_S * len(samples) / self.rate
            step = min(max(error, -largest), largest)
            self.gain = min(max(self.gain + step, self.gains.low), self.gains.high)


class Radio:
    """One radio of the air."""

    def __init__(self, settings: RadioSettings, address: str, number: int) -> None:
        self.settings, self.address, self.number = settings, address, number
        self.serial = settings.serial or f"VIRTUAL{number:04d}"
        self.transmitter = Transmitter(settings)
        self.receiver = Receiver(settings)
        self.time_offset = (0, 0.0)
        """Whole and fractional seconds that its time registers are ahead of its clock's zero."""

    def counters(self) -> dict[str, int]:
        """What the open streams have counted."""
        counted: dict[str, int] = {"clipped_samples": self.receiver.clipped_samples}
        if self.receiver.stream is not None:
            counted |= {
                "overruns": self.receiver.stream.overruns,
                "lost_samples": self.receiver.stream.lost_samples,
            }
        if self.transmitter.stream is not None:
            counted |= {"underruns": self.transmitter.stream.underruns, "late_bursts": self.transmitter.stream.late}
        return counted


def check(what: str, value: float, allowed: Range, unit: str) -> None:
    """Raise OutOfRangeError unless ``value`` is allowed."""
    if not (math.isfinite(value) and allowed.holds(value)):
        raise OutOfRangeError(
            f"{what} {value:.9g} {unit} is out of range: {allowed.low:.9g} to {allowed.high:.9g} {unit}"
        )

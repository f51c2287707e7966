# SPDX-License-Identifier: GPL-3.0-or-later
"""What each kind of radio can be set to, and which power its full scale stands for.

Ranges: AD9361 and AD9363 as Analog Devices' driver states them, and the Ettus B200's as UHD reports them. Levels are typical of
the published ones, to within a few dB; they vary with frequency, which is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Values that a setting may take; ``step`` 0 for any."""

    low: float
    high: float
    step: float = 0.0

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies within."""
        return self.low <= value <= self.high

    def nearest(self, value: float) -> float:
        """``value`` on the grid of steps."""
        return value if not self.step else self.low + round((value - self.low) / self.step) * self.step


@dataclass(frozen=True)
class RadioModel:
    """One kind of radio.

    Gains are in dB, as its own interface counts them: a Pluto's transmit gain is 0 or less (an attenuation with its sign
    changed). ``transmit_dbm`` is the power of a full-scale carrier at the largest transmit gain, ``receive_dbm`` that of the
    carrier that just fills the converter at the largest receive gain.
    """

    name: str
    frequency: Range
    rate: Range
    bandwidth: Range
    transmit_gain: Range
    receive_gain: Range
    transmit_dbm: float
    receive_dbm: float
    bits: int
    noise_figure_db: float

    def transmit_level_dbm(self, gain: float) -> float:
        """Power in dBm of a full-scale carrier at this transmit gain."""
        return self.transmit_dbm - (self.transmit_gain.high - gain)

    def receive_level_dbm(self, gain: float) -> float:
        """Power in dBm of a carrier that fills the converter at this receive gain."""
        return self.receive_dbm + (self.receive_gain.high - gain)


PLUTO = RadioModel(
    name="pluto",
    frequency=Range(325e6, 3.8e9, 1),
    rate=Range(65105, 61.44e6, 1),
    bandwidth=Range(200e3, 20e6, 1),
    transmit_gain=Range(-89.75, 0.0, 0.25),
    receive_gain=Range(-1.0, 73.0, 1.0),
    transmit_dbm=0.0,
    receive_dbm=-65.0,
    bits=12,
    noise_figure_db=6.0,
)
USRP = RadioModel(
    name="usrp",
    frequency=Range(50e6, 6e9),
    rate=Range(125e3, 61.44e6),
    bandwidth=Range(200e3, 56e6),
    transmit_gain=Range(0.0, 89.75, 0.25),
    receive_gain=Range(0.0, 76.0, 1.0),
    transmit_dbm=10.0,
    receive_dbm=-62.0,
    bits=12,
    noise_figure_db=7.0,
)
MODELS = {model.name: model for model in (PLUTO, USRP)}

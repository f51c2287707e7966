# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of radio hardware: amplifiers and front ends."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from djscc.channels.schema import require


@dataclass(frozen=True)
class Saleh:
    """Travelling-wave-tube amplifier (Saleh 1981): gain 2.1587 / (1 + 1.1517 r^2), phase 4.0033 r^2 / (1 + 9.1040 r^2)."""

    model: str = "saleh"
    backoff_db: float = 6.0
    """Input power of saturation over the signal's mean power."""


@dataclass(frozen=True)
class Rapp:
    """Solid-state amplifier (Rapp 1991): gain (1 + (r / r_sat)^(2p))^(-1 / (2p)), no change of phase."""

    model: str = "rapp"
    backoff_db: float = 6.0
    smoothness: float = 2.0
    """p; the larger, the harder the limit."""

    def __post_init__(self) -> None:
        require(self.smoothness > 0, "smoothness", self.smoothness, "Use a value above 0; 2 is typical.")


@dataclass(frozen=True)
class FrontEnd:
    """What a radio's analogue side and its converter do to a signal."""

    iq_gain_db: float = 0.0
    """Gain of I over Q in dB."""
    iq_phase_deg: float = 0.0
    """Departure of I and Q from a right angle."""
    dc_dbc: float | None = None
    """Power of the constant (or carrier leak) over the signal's mean power."""
    phase_noise: tuple[tuple[float, float], ...] | None = None
    """Single-sideband mask: (offset in Hz, dBc/Hz), straight lines between in dB over log frequency, level outside."""
    bits: int | None = None
    """Resolution of the converter."""
    headroom_db: float = 12.0
    """Full scale of the converter over the rms of what reaches it; beyond it clips."""

    def __post_init__(self) -> None:
        if self.bits is not None:
            require(1 <= self.bits <= 24, "bits", self.bits, "Converters have 1 to 24 bits.")
        if self.phase_noise is not None:
            offsets = [point[0] for point in self.phase_noise]
            rising = bool(offsets) and offsets[0] > 0 and all(a < b for a, b in itertools.pairwise(offsets))
            require(
                rising,
                "phase_noise",
                self.phase_noise,
                "Give rising offsets above 0 Hz, e.g. [[100, -60], [10000, -90]].",
            )

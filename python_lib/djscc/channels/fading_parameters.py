# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of the fading models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from djscc.channels.schema import require, suggest

ABDI = {"light": (0.158, 19.4, 1.29), "average": (0.126, 10.1, 0.835), "heavy": (0.063, 0.739, 8.97e-4)}
"""Shadowed Rician sets (b, m, Omega) of Abdi et al. 2003: infrequent light, average, frequent heavy shadowing."""


@dataclass(frozen=True)
class Rayleigh:
    """No line of sight: h ~ CN(0, 1) with the classical (Clarke) Doppler spectrum: autocorrelation J0(2 pi f_d t)."""

    model: str = "rayleigh"
    doppler_hz: float = 30.0
    """Largest Doppler shift of the scattered paths; the Doppler spread is twice this."""
    line_of_sight_doppler_hz: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        _check_doppler(self.doppler_hz)


@dataclass(frozen=True)
class Rician:
    """Line of sight and Rayleigh scatter, mean power 1."""

    model: str = "rician"
    k_db: float = 10.0
    """Power of the line of sight over that of the scatter."""
    doppler_hz: float = 30.0
    line_of_sight_doppler_hz: float = 0.0
    """Doppler shift of the line of sight against the carrier that the receiver is tuned to."""

    def __post_init__(self) -> None:
        _check_doppler(self.doppler_hz)


@dataclass(frozen=True)
class ShadowedRician:
    """Line of sight of Gamma distributed power, and Rayleigh scatter (Abdi et al. 2003).

    Its parameters come from one of three places: ``severity`` (light, average, heavy), ``elevation_deg`` (20 to 80, polynomial
    fits), or ``b``, ``m`` and ``omega`` themselves. The mean power is 2b + omega: +2.06, +0.36 and -8.97 dB for the three
    severities. ``normalise: true`` divides by it, so that Es/N0 is the mean after shadowing; ``false`` keeps it, so that Es/N0
    is that of a clear line of sight and shadowing costs power.
    """

    model: str = "shadowed-rician"
    severity: str | None = None
    elevation_deg: float | None = None
    b: float | None = None
    m: float | None = None
    omega: float | None = None
    normalise: bool = True
    doppler_hz: float = 30.0
    line_of_sight_doppler_hz: float = 0.0
    shadowing_time_s: float = 0.2
    """Time in which the correlation of the (Gaussian) shadowing falls to 1/e."""

    def __post_init__(self) -> None:
        _check_doppler(self.doppler_hz)
        _check_shadowing(self.shadowing_time_s, self.doppler_hz)
        explicit = (self.b, self.m, self.omega)
        sources = [
            self.severity is not None,
            self.elevation_deg is not None,
            any(value is not None for value in explicit),
        ]
        require(
            sum(sources) == 1, "severity", self.severity, "Give one of: severity, elevation_deg, or b, m and omega."
        )
        if self.severity is not None:
            require(self.severity in ABDI, "severity", self.severity, suggest(self.severity, ABDI))
        if self.elevation_deg is not None:
            inside = 20 <= self.elevation_deg <= 80
            require(inside, "elevation_deg", self.elevation_deg, "The fits hold from 20 to 80 degrees.")
        if sources[2]:
            for key, value in zip(("b", "m", "omega"), explicit, strict=True):
                require(
                    value is not None and value > 0, key, value, "b, m and omega are needed together, each above 0."
                )

    @property
    def parameters(self) -> tuple[float, float, float]:
        """b (half the power of the scatter), m (the larger, the steadier the line of sight), omega (its mean power)."""
        if self.severity is not None:
            return ABDI[self.severity]
        if self.elevation_deg is not None:
            t = self.elevation_deg
            return (
                -4.7943e-8 * t**3 + 5.5784e-6 * t**2 - 2.1344e-4 * t + 3.2710e-2,
                6.3739e-5 * t**3 + 5.8533e-4 * t**2 - 1.5973e-1 * t + 3.5156,
                1.4428e-5 * t**3 - 2.3798e-3 * t**2 + 1.2702e-1 * t - 1.4864,
            )
        assert self.b is not None and self.m is not None and self.omega is not None
        return self.b, self.m, self.omega


@dataclass(frozen=True)
class TwoState:
    """Land-mobile satellite channel of two states (Lutz et al. 1991), for a moving terminal.

    Good: a line of sight of power 1 with scatter 1/K. Bad: no line of sight, scatter of log-normal power. The stays are
    exponentially distributed. The defaults are of the order of a highway at 24 degrees elevation, driven at 25 m/s.
    """

    model: str = "two-state"
    good_s: float = 3.6
    """Mean stay in the good state."""
    bad_s: float = 1.2
    good_k_db: float = 10.0
    bad_mean_db: float = -9.0
    """Mean, in dB, of the bad state's log-normal power over that of the clear line of sight."""
    bad_std_db: float = 5.0
    normalise: bool = False
    """Divide by the mean power over both states; otherwise Es/N0 is that of the clear line of sight."""
    doppler_hz: float = 120.0
    line_of_sight_doppler_hz: float = 0.0
    shadowing_time_s: float = 0.2
    """Time in which the correlation of the bad state's log-normal power falls to 1/e."""

    def __post_init__(self) -> None:
        _check_doppler(self.doppler_hz)
        _check_shadowing(self.shadowing_time_s, self.doppler_hz)
        for key in ("good_s", "bad_s"):
            require(getattr(self, key) > 0, key, getattr(self, key), "A mean stay is above 0 seconds.")
        require(self.bad_std_db >= 0, "bad_std_db", self.bad_std_db, "Use 0 or more.")

    @property
    def share_of_bad(self) -> float:
        """Share of time in the bad state."""
        return self.bad_s / (self.good_s + self.bad_s)

    @property
    def mean_power(self) -> float:
        """Mean |h|^2 before normalisation."""
        neper = math.log(10) / 10
        bad = math.exp(self.bad_mean_db * neper + (self.bad_std_db * neper) ** 2 / 2)
        return (1 - self.share_of_bad) * (1 + 10 ** (-self.good_k_db / 10)) + self.share_of_bad * bad


@dataclass(frozen=True)
class NtnTdl:
    """Tapped delay line NTN-TDL-A to D of 3GPP TR 38.811 (table 6.9.2), for 50 degrees elevation; mean power 1."""

    model: str = "ntn-tdl"
    profile: str = "A"
    """A and B have no line of sight; C (K = 10.2 dB) and D (K = 11.7 dB) have one."""
    delay_spread_ns: float = 100.0
    """Scales the profile's delays."""
    doppler_hz: float = 30.0
    line_of_sight_doppler_hz: float = 0.0

    def __post_init__(self) -> None:
        _check_doppler(self.doppler_hz)
        require(self.profile in ("A", "B", "C", "D"), "profile", self.profile, "Known: A, B, C, D.")
        require(self.delay_spread_ns >= 0, "delay_spread_ns", self.delay_spread_ns, "Use 0 or more.")


FlatFadingParameters = Rayleigh | Rician | ShadowedRician | TwoState


def _check_doppler(doppler_hz: float) -> None:
    require(doppler_hz > 0, "doppler_hz", doppler_hz, "A process in time needs movement; 0.01 all but stands still.")


def _check_shadowing(time_s: float, doppler_hz: float) -> None:
    shortest = 1 / doppler_hz
    require(time_s >= shortest, "shadowing_time_s", time_s, f"At this doppler_hz it is at least {shortest:g} s.")

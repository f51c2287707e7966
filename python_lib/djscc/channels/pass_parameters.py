# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of a satellite pass and of the link over it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from djscc.channels.schema import ChannelError, require, suggest

PRECOMPENSATION = ("none", "carrier", "carrier-and-clock")


@dataclass(frozen=True)
class Station:
    """The ground station."""

    latitude_deg: float = 49.6
    longitude_deg: float = 6.1
    altitude_m: float = 300.0

    def __post_init__(self) -> None:
        require(abs(self.latitude_deg) <= 89, "latitude_deg", self.latitude_deg, "Use -89 to 89.")


@dataclass(frozen=True)
class Orbit:
    """A pass over ``station``, of a circular orbit (altitude, inclination, highest elevation) or of a TLE after ``start``."""

    carrier_hz: float = 8.2e9
    station: Station = Station()
    altitude_km: float = 600.0
    inclination_deg: float = 97.8
    max_elevation_deg: float = 75.0
    """Of the circular orbit's pass; with a TLE, the least that a pass must reach to be taken."""
    min_elevation_deg: float = 5.0
    """The pass begins and ends here; 5 or more where the atmosphere counts."""
    tle: tuple[str, str] | None = None
    start: str | None = None
    """UTC from which a TLE's pass is searched, e.g. "2026-03-01T12:00:00"."""
    search_h: float = 48.0
    start_s: float = 0.0
    """Where in the pass the channel begins."""
    time_scale: float = 1.0
    """Runs through the pass so many times faster. Doppler shifts and levels stay those of the place in the pass; only
    their rates of change grow."""
    precompensation: str = "none"
    """What transmitter or station take out by prediction: none, carrier, or carrier-and-clock."""
    ephemeris_error_s: float = 0.0
    """How late the prediction is; it leaves a residual."""

    def __post_init__(self) -> None:
        require(self.carrier_hz > 0, "carrier_hz", self.carrier_hz, "Use a frequency above 0 Hz.")
        low = 150 <= self.altitude_km <= 2000
        require(low, "altitude_km", self.altitude_km, "Use 150 to 2000 (a low orbit); give a TLE for a higher one.")
        require(0 <= self.min_elevation_deg < 90, "min_elevation_deg", self.min_elevation_deg, "Use 0 to 90.")
        above = self.tle is not None or self.min_elevation_deg < self.max_elevation_deg <= 90
        require(above, "max_elevation_deg", self.max_elevation_deg, "Use a value above min_elevation_deg, up to 90.")
        require(self.time_scale > 0, "time_scale", self.time_scale, "Use a value above 0; 1 is real time.")
        known = self.precompensation in PRECOMPENSATION
        require(known, "precompensation", self.precompensation, suggest(self.precompensation, PRECOMPENSATION))
        if self.tle is not None:
            require(self.start is not None, "start", self.start, 'A TLE needs a start, e.g. "2026-03-01T12:00:00".')
            object.__setattr__(self, "tle", checked_tle(self.tle))
        if self.start is not None:
            try:
                datetime.fromisoformat(self.start)
            except ValueError:
                raise ChannelError(f'start: {self.start!r} is no time. Write it as "2026-03-01T12:00:00".') from None


@dataclass(frozen=True)
class Link:
    """What a pass's Es/N0 follows from, beside the orbit and the symbol rate."""

    eirp_dbw: float = 0.0
    antenna_diameter_m: float = 0.6
    antenna_efficiency: float = 0.6
    receiver_temperature_k: float = 120.0
    """Equivalent noise temperature of all behind the antenna."""
    ground_temperature_k: float = 20.0
    """What the antenna picks up of the ground."""
    losses_db: float = 1.0
    """Pointing, polarisation, implementation."""
    exceeded_percent: float | None = None
    """Atmospheric attenuation exceeded in this share of an average year (ITU-R P.618); None leaves the atmosphere out."""

    def __post_init__(self) -> None:
        require(self.antenna_diameter_m > 0, "antenna_diameter_m", self.antenna_diameter_m, "Use a value above 0.")
        require(0 < self.antenna_efficiency <= 1, "antenna_efficiency", self.antenna_efficiency, "Use 0 to 1.")
        require(
            self.receiver_temperature_k > 0, "receiver_temperature_k", self.receiver_temperature_k, "Use 1 or more."
        )
        if self.exceeded_percent is not None:
            inside = 0.001 <= self.exceeded_percent <= 50
            require(inside, "exceeded_percent", self.exceeded_percent, "P.618 holds from 0.001 to 50 percent.")


def checked_tle(lines: tuple[str, str]) -> tuple[str, str]:
    """The two lines of a set of elements without blanks around them; ChannelError for what is none, by its own checksums."""
    first, second = (line.strip() for line in lines)
    for number, line in (("1", first), ("2", second)):
        shape = len(line) == 69 and line.isascii() and line[:2] == f"{number} " and line[68].isdigit()
        if not shape:
            raise ChannelError(
                f"tle: {line!r} is not line {number} of a two-line element set. Give both lines of 69 characters, without the name."
            )
        if sum(int(c) if c.isdigit() else c == "-" for c in line[:68]) % 10 != int(line[68]):
            raise ChannelError(
                f"tle: the checksum of {line!r} does not fit. A character was changed; copy the line again."
            )
    if first[2:7] != second[2:7]:
        raise ChannelError(f"tle: lines of two satellites, {first[2:7]} and {second[2:7]}. Give both lines of one.")
    return first, second

# SPDX-License-Identifier: GPL-3.0-or-later
"""The geometry of a satellite pass over a ground station: elevation, range, delay and Doppler shift over time.

The orbit is a circle given by altitude and inclination (spherical Earth, rotating), or a two-line element set propagated by
SGP4 (WGS 84 station; polar motion and UT1 - UTC, below 0.9 s, are left out: skyfield with UT1 = UTC agrees to 1 mm and 0.1 Hz).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from djscc.channels.pass_parameters import Orbit, Station
from djscc.channels.schema import ChannelError
from djscc.channels.streams import Float

LIGHT_M_S = 299_792_458.0
EARTH_RADIUS_M = 6_371_000.0  # mean sphere, as in TR 38.811
EARTH_GM = 3.986004418e14  # m^3 / s^2
EARTH_TURN_RAD_S = 7.2921150e-5
WGS84_A_M, WGS84_F = 6_378_137.0, 1 / 298.257223563
GRID_S = 0.25  # of the geometry: a cubic spline over it keeps the phase of an X-band carrier to 1e-4 cycles
DAY_S = 86400.0


class Trajectory(Protocol):
    """Satellite and station in one inertial frame, over seconds; what a pass is found in."""

    def satellite(self, time: Float) -> Float:
        """Position (N, 3) in m."""

    def station(self, time: Float) -> tuple[Float, Float]:
        """Position (N, 3) in m, and unit vector (N, 3) to the station's zenith."""


class CircularOrbit:
    """A circular orbit that passes ``offset`` radians of arc aside of the station at time 0, near its culmination."""

    def __init__(self, orbit: Orbit, station: Station, offset: float) -> None:
        self._latitude, self._station_radius = np.radians(station.latitude_deg), EARTH_RADIUS_M + station.altitude_m
        self._radius = EARTH_RADIUS_M + orbit.altitude_km * 1e3
        self._speed = np.sqrt(EARTH_GM / self._radius**3)
        inclination = np.radians(orbit.inclination_deg)
        latitude = self._latitude
        # the point below the satellite, abeam of the station, and the heading there depend on each other
        for _ in range(100):
            cosine = np.clip(np.cos(inclination) / np.cos(latitude), -1, 1)
            east = cosine * self._speed * EARTH_RADIUS_M - EARTH_TURN_RAD_S * EARTH_RADIUS_M * np.cos(latitude)
            north = np.sqrt(1 - cosine**2) * self._speed * EARTH_RADIUS_M
            track = np.arctan2(east, north)  # over the turning Earth
            bearing = track + np.pi / 2 * (1 if np.sin(track) * self._latitude >= 0 else -1)  # towards the equator
            sine = np.sin(self._latitude) * np.cos(offset) + np.cos(self._latitude) * np.sin(offset) * np.cos(bearing)
            latitude = (latitude + np.arcsin(sine)) / 2
        if abs(np.cos(inclination)) > np.cos(latitude) + 1e-9:
            raise ChannelError(
                f"orbit.inclination_deg: {orbit.inclination_deg!r} cannot be used. An orbit over a station at latitude "
                f"{station.latitude_deg:g} with this elevation needs one nearer to 90."
            )
        longitude = np.arctan2(
            np.sin(bearing) * np.sin(offset) * np.cos(self._latitude), np.cos(offset) - np.sin(self._latitude) * sine
        )
        up = _unit(latitude, longitude)
        heading_east = np.array([-np.sin(longitude), np.cos(longitude), 0.0])
        heading = cosine * heading_east + np.sqrt(1 - cosine**2) * np.cross(up, heading_east)
        self._axes = np.stack([up, heading])

    def satellite(self, time: Float) -> Float:
        angle = self._speed * np.asarray(time)
        return self._radius * np.stack([np.cos(angle), np.sin(angle)], -1) @ self._axes

    def station(self, time: Float) -> tuple[Float, Float]:
        up = _unit(self._latitude, EARTH_TURN_RAD_S * np.asarray(time))
        return self._station_radius * up, up


class TleOrbit:
    """SGP4 in its frame TEME; time 0 is ``start``."""

    def __init__(self, orbit: Orbit, station: Station) -> None:
        assert orbit.tle is not None and orbit.start is not None
        sgp4 = optional("sgp4.api")
        self._record = sgp4.Satrec.twoline2rv(*orbit.tle)
        self.period_s = 120 * np.pi / self._record.no_kozai  # which is in radians per minute
        start = datetime.fromisoformat(orbit.start)
        start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
        self._epoch = (start - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds()
        latitude, longitude = np.radians([station.latitude_deg, station.longitude_deg])
        eccentricity = WGS84_F * (2 - WGS84_F)
        curvature = WGS84_A_M / np.sqrt(1 - eccentricity * np.sin(latitude) ** 2)
        self._longitude, self._latitude = longitude, latitude
        self._equatorial = (curvature + station.altitude_m) * np.cos(latitude)
        self._polar = (curvature * (1 - eccentricity) + station.altitude_m) * np.sin(latitude)

    def satellite(self, time: Float) -> Float:
        seconds = self._epoch + np.atleast_1d(time)
        error, position, _ = self._record.sgp4_array(np.full(seconds.shape, 2451545.0), seconds / DAY_S)
        if error.any():
            raise ChannelError(
                f"orbit.tle: SGP4 fails with code {error[error > 0][0]}; use elements nearer to orbit.start"
            )
        return np.asarray(position) * 1e3

    def station(self, time: Float) -> tuple[Float, Float]:
        angle = sidereal_angle(self._epoch + np.atleast_1d(time)) + self._longitude
        flat = self._equatorial
        position = np.stack([flat * np.cos(angle), flat * np.sin(angle), np.full_like(angle, self._polar)], -1)
        return position, _unit(self._latitude, angle)


def sidereal_angle(seconds: Float) -> Float:
    """Greenwich mean sidereal time (IAU 1982) in radians at UT1 seconds since 2000-01-01 12:00."""
    centuries = seconds / (36525 * DAY_S)
    sidereal = (
        67310.54841 + (876600 * 3600 + 8640184.812866) * centuries + 0.093104 * centuries**2 - 6.2e-6 * centuries**3
    )
    return np.radians(np.mod(sidereal, DAY_S) / 240)


@dataclass(frozen=True)
class Pass:
    """One pass on a regular grid; times in seconds from the rise above the least elevation to the set.

    Delay is that of the light received at each time; range is where the satellite was when it sent it.
    """

    time_s: Float
    elevation_deg: Float
    delay_s: Float
    start: float
    """Seconds from the trajectory's own time 0 to the rise."""

    @property
    def duration_s(self) -> float:
        """From rise to set."""
        return float(self.time_s[-1])

    @property
    def range_m(self) -> Float:
        """Length of the way."""
        return self.delay_s * LIGHT_M_S

    def delay(self) -> CubicSpline:
        """Delay over time, and by its derivative the Doppler shift: f_d = -f_c d(delay)/dt."""
        return CubicSpline(self.time_s, self.delay_s)


def find_pass(orbit: Orbit) -> Pass:
    """The pass that ``orbit`` describes: the circle's only one, or the TLE's first after its start that climbs high enough.

    Raises ChannelError where there is none.
    """
    station = orbit.station
    if orbit.tle is None:
        trajectory: Trajectory = _circle_with_culmination(orbit, station)
        reach, (top, _) = 0.3 * _period_s(orbit), _culmination(trajectory, _period_s(orbit))
        return _between(trajectory, orbit, top - reach, top, top + reach)
    trajectory = propagated = TleOrbit(orbit, station)
    reach = 0.3 * propagated.period_s
    time = np.arange(0, orbit.search_h * 3600, 20.0)
    height = elevation(trajectory, time)
    for peak in np.flatnonzero((height[1:-1] > height[:-2]) & (height[1:-1] >= height[2:])) + 1:
        near = np.linspace(time[peak - 1], time[peak + 1], 401)
        fine = elevation(trajectory, near)
        if fine.max() >= max(orbit.max_elevation_deg, orbit.min_elevation_deg):
            top = float(near[np.argmax(fine)])
            return _between(trajectory, orbit, top - reach, top, top + reach)
    raise ChannelError(
        f"orbit.max_elevation_deg: no pass climbs to {orbit.max_elevation_deg:g} degrees within {orbit.search_h:g} h of "
        f"{orbit.start}. Lower it, move orbit.start, or raise orbit.search_h."
    )


def elevation(trajectory: Trajectory, time: Float) -> Float:
    """Geometric elevation in degrees (no refraction, no light time)."""
    ground, up = trajectory.station(time)
    line = trajectory.satellite(time) - ground
    sine = np.sum(line * up, -1) / np.linalg.norm(line, axis=-1)
    return np.degrees(np.arcsin(np.clip(sine, -1, 1)))


def light_time(trajectory: Trajectory, time: Float) -> Float:
    """Delay in s of what is received at ``time``: the satellite is taken where it was when it sent it."""
    ground, _ = trajectory.station(time)
    delay = np.zeros(len(time))
    for _ in range(4):  # each step gains a factor v / c
        delay = np.linalg.norm(trajectory.satellite(time - delay) - ground, axis=-1) / LIGHT_M_S
    return delay


def _between(trajectory: Trajectory, orbit: Orbit, before: float, top: float, after: float) -> Pass:
    """The pass around ``top``, from and to the least elevation."""

    def height(at: float) -> float:
        return float(elevation(trajectory, np.array([at]))[0]) - orbit.min_elevation_deg

    if height(before) > 0 or height(after) > 0 or height(top) <= 0:
        raise ChannelError(
            f"orbit.min_elevation_deg: the satellite does not rise above and set below {orbit.min_elevation_deg:g} degrees"
        )
    rise, fall = brentq(height, before, top), brentq(height, top, after)
    count = int(np.ceil((fall - rise) / GRID_S)) + 1
    time = np.linspace(0, fall - rise, count)
    return Pass(time, elevation(trajectory, rise + time), light_time(trajectory, rise + time), rise)


def _circle_with_culmination(orbit: Orbit, station: Station) -> CircularOrbit:
    """The circle whose highest elevation over the station is the one wanted."""
    wanted = np.radians(orbit.max_elevation_deg)
    ratio = (EARTH_RADIUS_M + station.altitude_m) / (EARTH_RADIUS_M + orbit.altitude_km * 1e3)
    aside = np.arccos(ratio * np.cos(wanted)) - wanted  # central angle, were the Earth not to turn
    period = _period_s(orbit)

    def excess(offset: float) -> float:
        return _culmination(CircularOrbit(orbit, station, offset), period)[1] - orbit.max_elevation_deg

    if orbit.max_elevation_deg > 89.5:
        return CircularOrbit(orbit, station, 0.0)
    near_side, far_side = 0.3 * aside, 1.7 * aside
    if not excess(near_side) > 0 > excess(far_side):  # at high latitudes its way over the pole may be nearer than abeam
        raise ChannelError(
            f"orbit.max_elevation_deg: {orbit.max_elevation_deg!r} cannot be reached over latitude {station.latitude_deg:g} at an "
            f"inclination of {orbit.inclination_deg:g}. Change one of the three, or give a TLE."
        )
    return CircularOrbit(orbit, station, brentq(excess, near_side, far_side, xtol=1e-7))


def _culmination(trajectory: Trajectory, period: float) -> tuple[float, float]:
    """Time in s and elevation in degrees of a circle's highest point; the Earth's turn moves it away from time 0."""
    time = np.linspace(-0.25, 0.25, 201) * period
    for _ in range(2):  # the second time around the highest of the first
        height = elevation(trajectory, time)
        top = time[np.argmax(height)]
        time = top + np.linspace(-1, 1, 401) * (time[1] - time[0])
    return float(top), float(height.max())


def _period_s(orbit: Orbit) -> float:
    """Period of a circular orbit."""
    return float(2 * np.pi * np.sqrt((EARTH_RADIUS_M + orbit.altitude_km * 1e3) ** 3 / EARTH_GM))


def _unit(latitude: float, longitude: Any) -> Float:
    """Unit vectors (..., 3) to a latitude and longitudes, in radians."""
    longitude = np.asarray(longitude, float)
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.full_like(longitude, np.sin(latitude))], -1)


def optional(module: str) -> Any:
    """Import a module of the extra ``orbit``."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ChannelError(f"orbit: this needs the package {module.split('.')[0]}: pip install djscc[orbit]") from error

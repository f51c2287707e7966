# SPDX-License-Identifier: GPL-3.0-or-later
"""Link budget over a satellite pass: from geometry, antennas and atmosphere to Es/N0, as a table and a plot."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from djscc.channels.description import ChannelDescription
from djscc.channels.orbit import LIGHT_M_S, Pass, find_pass, optional
from djscc.channels.pass_parameters import Link, Orbit, Station
from djscc.channels.schema import ChannelError
from djscc.channels.streams import Float
from djscc.errors import writing_picture

BOLTZMANN_DBW_K_HZ = -228.5991672
COSMIC_K, ATMOSPHERE_K = 2.7, 275.0  # ITU-R P.618: sky noise; mean radiating temperature of the atmosphere


@dataclass(frozen=True)
class LinkRow:
    """The link at one time of the pass."""

    time_s: float
    elevation_deg: float
    range_km: float
    delay_ms: float
    doppler_hz: float
    doppler_rate_hz_s: float
    free_space_db: float
    gas_db: float
    cloud_db: float
    rain_db: float
    scintillation_db: float
    atmosphere_db: float
    """All four as ITU-R P.618 combines them: gas + sqrt((rain + cloud)^2 + scintillation^2)."""
    noise_temperature_k: float
    g_over_t_db_k: float
    c_over_n0_db_hz: float
    snr_db: float
    """Es/N0 at the symbol rate."""


def link_budget(description: ChannelDescription, symbol_rate: float, step_s: float = 10.0) -> list[LinkRow]:
    """The link every ``step_s`` seconds from rise to set. Raises ChannelError unless the channel has ``orbit`` and ``link``."""
    if description.orbit is None or description.link is None:
        raise ChannelError(f"link: channel {description.name} has no link budget; add sections orbit and link to it")
    flight = find_pass(description.orbit)
    time = np.append(np.arange(0, flight.duration_s, step_s), flight.duration_s)
    delay = flight.delay()
    at = np.interp(time, flight.time_s, flight.elevation_deg)
    columns = _columns(description.orbit, description.link, at, delay(time), symbol_rate)
    doppler = -description.orbit.carrier_hz * delay(time, 1)
    rate = -description.orbit.carrier_hz * delay(time, 2)
    geometry = [time, at, delay(time) * LIGHT_M_S / 1e3, delay(time) * 1e3, doppler, rate]
    return [LinkRow(*map(float, row)) for row in zip(*geometry, *columns, strict=True)]


def snr_over_pass(orbit: Orbit, link: Link, flight: Pass, symbol_rate: float) -> Float:
    """Es/N0 in dB on the pass's own grid."""
    return _columns(orbit, link, flight.elevation_deg, flight.delay_s, symbol_rate)[-1]


def format_link_budget(rows: list[LinkRow]) -> str:
    """The rows as a table for a terminal."""
    columns: list[tuple[str, str, Callable[[LinkRow], float]]] = [
        ("time/s", "{:.0f}", lambda row: row.time_s),
        ("elev/deg", "{:.1f}", lambda row: row.elevation_deg),
        ("range/km", "{:.0f}", lambda row: row.range_km),
        ("Doppler/kHz", "{:+.2f}", lambda row: row.doppler_hz / 1e3),
        ("rate/(Hz/s)", "{:+.0f}", lambda row: row.doppler_rate_hz_s),
        ("FSPL/dB", "{:.1f}", lambda row: row.free_space_db),
        ("gas/dB", "{:.2f}", lambda row: row.gas_db),
        ("cloud/dB", "{:.2f}", lambda row: row.cloud_db),
        ("rain/dB", "{:.2f}", lambda row: row.rain_db),
        ("scint/dB", "{:.2f}", lambda row: row.scintillation_db),
        ("all/dB", "{:.2f}", lambda row: row.atmosphere_db),
        ("G/T/(dB/K)", "{:.1f}", lambda row: row.g_over_t_db_k),
        ("C/N0/dBHz", "{:.1f}", lambda row: row.c_over_n0_db_hz),
        ("Es/N0/dB", "{:.1f}", lambda row: row.snr_db),
    ]
    lines = ["  ".join(name for name, _, _ in columns)]
    for row in rows:
        lines.append("  ".join(form.format(value(row)).rjust(len(name)) for name, form, value in columns))
    return "\n".join(lines)


def plot_link_budget(rows: list[LinkRow], path: str | Path, title: str = "") -> None:
    """Draw elevation, Doppler shift, losses and Es/N0 over the pass into a picture file."""
    from matplotlib.figure import Figure

    time = [row.time_s for row in rows]
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True)
    axes[0].plot(time, [row.elevation_deg for row in rows])
    axes[0].set_ylabel("elevation / °")
    axes[1].plot(time, [row.doppler_hz / 1e3 for row in rows])
    axes[1].set_ylabel("Doppler / kHz")
    for name in ("gas", "cloud", "rain", "scintillation", "atmosphere"):
        label = "all" if name == "atmosphere" else name
        axes[2].plot(time, [getattr(row, f"{name}_db") for row in rows], label=label)
    axes[2].set_ylabel("atmosphere / dB")
    axes[2].legend(loc="upper center", ncols=5, fontsize="small")
    axes[3].plot(time, [row.snr_db for row in rows])
    axes[3].set_ylabel("Es/N0 / dB")
    axes[3].set_xlabel("time from rise / s")
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.suptitle(title)
    with writing_picture(path, ChannelError):
        figure.savefig(path, dpi=120)


def _columns(orbit: Orbit, link: Link, elevation_deg: Float, delay_s: Float, symbol_rate: float) -> list[Float]:
    """The columns of LinkRow from free_space_db to snr_db."""
    free_space = 20 * np.log10(4 * np.pi * delay_s * orbit.carrier_hz)
    if link.exceeded_percent is None:
        parts = [np.zeros_like(elevation_deg)] * 4
    else:
        grid = np.geomspace(orbit.min_elevation_deg + 1e-6, 89.9, 24)  # itur warns at the limits themselves
        table = atmosphere(orbit.station, orbit.carrier_hz, link.exceeded_percent, link.antenna_diameter_m, tuple(grid))
        parts = [np.interp(np.log(elevation_deg), np.log(grid), row) for row in table]
    gas, cloud, rain, scintillation = parts
    absorbed = 10 ** (-(gas + cloud + rain) / 10)  # scintillation absorbs nothing, so it adds no noise
    sky = COSMIC_K * absorbed + ATMOSPHERE_K * (1 - absorbed)
    temperature = sky + link.ground_temperature_k + link.receiver_temperature_k
    aperture = np.pi * link.antenna_diameter_m * orbit.carrier_hz / LIGHT_M_S
    merit = 10 * np.log10(link.antenna_efficiency * aperture**2 / temperature)
    whole = gas + np.hypot(rain + cloud, scintillation)
    density = link.eirp_dbw + merit - free_space - whole - link.losses_db - BOLTZMANN_DBW_K_HZ
    snr_db = density - 10 * np.log10(symbol_rate)
    return [free_space, gas, cloud, rain, scintillation, whole, temperature, merit, density, snr_db]


@functools.cache
def atmosphere(
    station: Station, carrier_hz: float, percent: float, diameter_m: float, elevation_deg: tuple[float, ...]
) -> tuple[Float, ...]:
    """Attenuation in dB by gas, cloud, rain and scintillation at each elevation (ITU-R P.676, P.840, P.618, through itur)."""
    itur = optional("itur")
    parts = itur.atmospheric_attenuation_slant_path(
        station.latitude_deg,
        station.longitude_deg,
        carrier_hz / 1e9,
        np.array(elevation_deg),
        percent,
        diameter_m,
        hs=station.altitude_m / 1e3,
        return_contributions=True,
    )
    return tuple(np.asarray(part.value, float) for part in parts[:4])

# SPDX-License-Identifier: GPL-3.0-or-later
"""A satellite pass: geometry against skyfield and closed forms, link budget, and the channel that follows from it."""

import numpy as np
import pytest
from djscc.channels import ChannelError, SampleChannel, load_channel
from djscc.channels.link_budget import format_link_budget, link_budget, plot_link_budget
from djscc.channels.orbit import EARTH_RADIUS_M, LIGHT_M_S, find_pass
from djscc.channels.pass_parameters import Orbit, Station
from djscc.channels.satellite_pass import SatellitePass

TLE = (
    "1 25544U 98067A   14020.93268519  .00009878  00000-0  18200-3 0  5082",
    "2 25544  51.6498 109.4756 0003572  55.9686 274.8005 15.49815350868473",
)
STATION = Station(latitude_deg=48.1, longitude_deg=11.3, altitude_m=550)


@pytest.mark.parametrize(("start", "least"), [("2014-01-21T03:00:00", 5.0), ("2014-01-22T20:00:00+01:00", 60.0)])
def test_tle_pass_against_skyfield(start, least):
    """At times between the grid's: delay to 1 cm, Doppler shift to 0.5 Hz, its rate to 3 Hz/s (the differences' own error)."""
    skyfield = pytest.importorskip("skyfield.api")
    orbit = Orbit(tle=TLE, start=start, station=STATION, max_elevation_deg=least, min_elevation_deg=0.0)
    flight = find_pass(orbit)
    assert flight.elevation_deg.max() > least
    scale = skyfield.load.timescale(delta_t=67.184, builtin=True)  # UT1 = UTC in January 2014, as TleOrbit takes it
    satellite = skyfield.EarthSatellite(*TLE, ts=scale)
    station = skyfield.wgs84.latlon(STATION.latitude_deg, STATION.longitude_deg, STATION.altitude_m)
    day, hour = {"2014-01-21T03:00:00": (21, 3), "2014-01-22T20:00:00+01:00": (22, 19)}[start]

    def at(seconds):
        return scale.utc(2014, 1, day, hour, 0, flight.start + seconds)

    def distance(received):
        """From where the satellite was when it sent to where the station is now, in m."""
        here, sent = station.at(at(received)).position.m, received
        for _ in range(3):
            way = np.linalg.norm(satellite.at(at(sent)).position.m - here, axis=0)
            sent = received - way / LIGHT_M_S
        return way

    middle = np.linspace(0.013, 0.987, 60) * flight.duration_s
    delay = flight.delay()
    height = (satellite - station).at(at(middle)).altaz()[0].degrees
    assert np.interp(middle, flight.time_s, flight.elevation_deg) == pytest.approx(height, abs=0.002)
    assert np.abs(delay(middle) * LIGHT_M_S - distance(middle)).max() < 0.01  # m
    speed = (distance(middle + 0.1) - distance(middle - 0.1)) / 0.2
    assert np.abs(8.2e9 * (delay(middle, 1) - speed / LIGHT_M_S)).max() < 0.5  # of up to 189 kHz
    bend = (distance(middle + 0.5) - 2 * distance(middle) + distance(middle - 0.5)) / 0.25
    assert np.abs(8.2e9 * (delay(middle, 2) - bend / LIGHT_M_S)).max() < 3.0  # of up to 3.3 kHz/s
    assert np.abs(8.2e9 * delay(middle, 1)).max() > 180e3


def test_leo_in_x_band_has_the_known_doppler():
    """600 km, 8.2 GHz, through zenith, the Earth's turn aside: 189 kHz at the horizon, 2.38 kHz/s at zenith (both within 3 %)."""
    orbit = Orbit(max_elevation_deg=90, min_elevation_deg=0.0, station=Station(altitude_m=0))
    delay = find_pass(orbit).delay()
    assert 8.2e9 * abs(delay(delay.x, 1)).max() == pytest.approx(189e3, rel=0.03)
    assert 8.2e9 * delay(delay.x, 2).max() == pytest.approx(2380, rel=0.03)


@pytest.mark.parametrize("highest", [12.0, 30.0, 60.0, 90.0])
@pytest.mark.parametrize("inclination", [53.0, 97.8])
def test_circular_pass_has_the_wanted_geometry(highest, inclination):
    station = Station(latitude_deg=40.0, altitude_m=0.0)
    flight = find_pass(Orbit(max_elevation_deg=highest, inclination_deg=inclination, station=station))
    assert flight.elevation_deg.max() == pytest.approx(highest, abs=0.3)
    assert flight.elevation_deg[[0, -1]] == pytest.approx(5.0, abs=1e-3)
    e, r = np.radians(flight.elevation_deg), EARTH_RADIUS_M
    distance = -r * np.sin(e) + np.sqrt((r * np.sin(e)) ** 2 + 600e3**2 + 2 * r * 600e3)
    assert np.abs(flight.range_m - distance).max() < 60  # the light time: up to 7.6 km/s x 7.7 ms


def test_passes_that_are_not_there():
    with pytest.raises(ChannelError, match=r"inclination_deg: 28.5 .* latitude 49.6"):
        find_pass(Orbit(inclination_deg=28.5))
    with pytest.raises(ChannelError, match=r"max_elevation_deg: 20.0 cannot be reached over latitude 69.7"):
        find_pass(Orbit(altitude_km=2000, max_elevation_deg=20.0, station=Station(latitude_deg=69.7)))
    with pytest.raises(ChannelError, match=r"max_elevation_deg: 6.0 cannot be reached over latitude 80"):
        find_pass(Orbit(max_elevation_deg=6.0, station=Station(latitude_deg=80)))
    pytest.importorskip("sgp4")
    with pytest.raises(ChannelError, match=r"no pass climbs to 89\.9 degrees"):
        find_pass(Orbit(tle=TLE, start="2014-01-21T00:00:00", station=STATION, max_elevation_deg=89.9))


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sgp4.api", None)
    with pytest.raises(ChannelError, match=r"sgp4: pip install djscc\[orbit\]"):
        find_pass(Orbit(tle=TLE, start="2014-01-21T00:00:00"))


def test_link_budget_by_hand():
    """No atmosphere, overhead: every column from its formula."""
    channel = load_channel(
        {
            "orbit": {"carrier_hz": 8.2e9, "max_elevation_deg": 90, "station": {"altitude_m": 0}},
            "link": {"eirp_dbw": 3, "antenna_diameter_m": 1.2, "receiver_temperature_k": 100, "losses_db": 2},
        }
    )
    row = max(link_budget(channel, 2e6, step_s=1.0), key=lambda row: row.elevation_deg)
    assert row.range_km == pytest.approx(600, abs=0.5)
    assert row.free_space_db == pytest.approx(166.3, abs=0.05)
    temperature = 2.7 + 20 + 100
    gain_db = 10 * np.log10(0.6 * (np.pi * 1.2 * 8.2e9 / 299792458) ** 2)
    assert row.noise_temperature_k == pytest.approx(temperature)
    expected = 3 + gain_db - 10 * np.log10(temperature) - row.free_space_db - 2 + 228.6 - 10 * np.log10(2e6)
    assert row.snr_db == pytest.approx(expected, abs=0.01)
    with pytest.raises(ChannelError, match="add sections orbit and link"):
        link_budget(load_channel("awgn"), 1e6)


def test_atmosphere_and_table(tmp_path):
    pytest.importorskip("itur")
    rows = link_budget(load_channel("leo-600km-x-band"), 1e6, step_s=20.0)
    low, high = rows[0], max(rows, key=lambda row: row.elevation_deg)
    assert low.gas_db == pytest.approx(0.61, abs=0.05) and high.gas_db == pytest.approx(0.055, abs=0.01)
    assert low.rain_db > high.rain_db > 0 and low.noise_temperature_k > high.noise_temperature_k + 50
    assert low.atmosphere_db == pytest.approx(2.64, abs=0.1)  # itur's own total
    assert 15 < high.snr_db - low.snr_db < 18
    table = format_link_budget(rows).splitlines()
    assert len(table) == len(rows) + 1 and len({len(line) for line in table}) == 1
    plot_link_budget(rows, tmp_path / "pass.png", "a pass")
    with pytest.raises(ChannelError, match="cannot be written as a picture"):
        plot_link_budget(rows, tmp_path / "none" / "pass.png", "a pass")
    assert (tmp_path / "pass.png").stat().st_size > 10_000


def received(changes, count, frequency, rate=50e3):
    channel = load_channel({"orbit": {"carrier_hz": 400e6, **changes}})
    tone = np.exp(2j * np.pi * frequency * np.arange(count)).astype(np.complex64)
    running = SampleChannel(channel, rate, 2, 1.0)
    return np.concatenate([running.push(tone[i : i + 5000]) for i in range(0, count, 5000)])


@pytest.mark.parametrize("frequency", [0.0, 0.2])
def test_channel_has_the_doppler_of_carrier_and_clock(frequency):
    """The phase of a tone at f is that of f_c + f over the same, varying delay, to 0.01 rad all along 60 s."""
    out = received({"start_s": 280.0}, 3_000_000, frequency)
    time = np.arange(len(out)) / 50e3
    delay = find_pass(Orbit(carrier_hz=400e6)).delay()(280.0 + time)
    expected = -400e6 * (delay - delay[0]) + frequency * (np.arange(len(out)) - 50e3 * delay)
    settled = slice(2000, None)
    error = out[settled] * np.exp(-2j * np.pi * expected[settled])
    assert np.abs(np.angle(error)).max() < 0.01
    assert np.abs(np.abs(error) - 1).max() < 1e-3


def test_time_runs_faster_but_doppler_stays():
    slow, fast = (SatellitePass(Orbit(time_scale=scale), None, 1e6) for scale in (1.0, 20.0))
    assert fast.duration_s == pytest.approx(slow.duration_s / 20)
    step = np.array([0.0, 1e-3])
    for place in (10.0, 300.0, 500.0):
        shifts = [
            np.diff(flight.carrier_cycles(place / scale + step))[0] / 1e-3 for flight, scale in ((slow, 1), (fast, 20))
        ]
        assert shifts[0] == pytest.approx(shifts[1], abs=30)
        assert np.diff(fast.delay_s(place / 20 + step)) == pytest.approx(np.diff(slow.delay_s(place + step)), abs=1e-11)


def test_precompensation_leaves_its_residual():
    """An ephemeris 10 ms late leaves 10 ms times the Doppler rate: up to 24 Hz at X band."""
    time = np.arange(0, 600, 0.5)
    none, carrier, both = (
        SatellitePass(Orbit(precompensation=kind, ephemeris_error_s=0.01), None, 1e6)
        for kind in ("none", "carrier", "carrier-and-clock")
    )
    residual = np.diff(carrier.carrier_cycles(time)) / 0.5
    assert np.abs(np.diff(none.carrier_cycles(time)) / 0.5).max() > 180e3
    assert 20 < np.abs(residual).max() < 25
    assert np.ptp(carrier.delay_s(time)) == pytest.approx(np.ptp(none.delay_s(time)))
    assert np.ptp(both.delay_s(time)) < 1e-6
    perfect = SatellitePass(Orbit(precompensation="carrier"), None, 1e6)
    assert np.abs(perfect.carrier_cycles(time)).max() < 1e-6


def test_level_follows_the_link_and_ends_with_the_pass():
    """Signal over noise at two places of the pass, within 5 standard errors of 100,000 samples; silence after the set."""
    orbit = {"carrier_hz": 400e6, "time_scale": 1.0}
    rows = link_budget(load_channel({"orbit": orbit, "link": {}}), 25e3, step_s=1.0)
    peak = max(row.snr_db for row in rows)
    for start in (5.0, 300.0):
        channel = load_channel({"orbit": {**orbit, "start_s": start}, "link": {}})
        running = SampleChannel(channel, 50e3, 2, 1.0)
        assert running.noise_variance == pytest.approx(2 / 10 ** (peak / 10), rel=1e-3)
        out = running.push(np.ones(100_000, np.complex64))[1000:]
        power = 10 ** ((np.interp(start + 1, [row.time_s for row in rows], [row.snr_db for row in rows]) - peak) / 10)
        assert np.mean(np.abs(out) ** 2) == pytest.approx(power + running.noise_variance, rel=0.02)
        state = running.satellite_pass.state(1.0)
        row = min(rows, key=lambda row: abs(row.time_s - start - 1))
        assert (state.snr_db, state.doppler_hz) == pytest.approx((row.snr_db, row.doppler_hz), rel=0.05)
    quiet = load_channel({"orbit": {**orbit, "time_scale": 10_000.0}, "snr_db": None})
    assert not np.any(SampleChannel(quiet, 50e3, 2, 1.0).push(np.ones(20_000, np.complex64))[-1000:])


@pytest.mark.parametrize(
    ("altitude", "highest", "latitude"),
    [
        (600, 6.0, 49.6),
        (1200, 8.0, 49.6),
        (2000, 10.0, 49.6),
        (1200, 15.0, 69.7),
    ],
)
def test_low_and_high_passes_culminate_where_they_should(altitude, highest, latitude):
    """The Earth's turn moves the culmination by minutes there."""
    orbit = Orbit(altitude_km=altitude, max_elevation_deg=highest, station=Station(latitude_deg=latitude))
    flight = find_pass(orbit)
    assert flight.elevation_deg.max() == pytest.approx(highest, abs=0.02)
    assert flight.elevation_deg[[0, -1]] == pytest.approx(5.0, abs=1e-3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (lambda a, b: ("ISS", a), "not line 1 of a two-line element set"),
        (lambda a, b: (b, a), "not line 1"),
        (lambda a, b: (a, b[:40]), "not line 2"),
        (lambda a, b: (a, b.replace("1", "9", 1)), "checksum"),
        (lambda a, b: (a, b[:2] + "00006" + b[7:]), "checksum|two satellites"),
    ],
)
def test_elements_that_are_none_are_named(lines, message):
    with pytest.raises(ChannelError, match=message):
        Orbit(tle=lines(*TLE), start="2014-01-21T00:00:00", station=STATION)
    assert Orbit(tle=(f"  {TLE[0]}", f"{TLE[1]} "), start="2014-01-21T00:00:00", station=STATION).tle == TLE

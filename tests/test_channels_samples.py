# SPDX-License-Identifier: GPL-3.0-or-later
"""The streaming channel: Es/N0 by contract, delay and clock, offsets, and independence of chunking."""

import numpy as np
import pytest
from djscc.channels import SampleChannel, load_channel, presets
from djscc.channels.fading_parameters import NtnTdl
from djscc.channels.filter_bank import REACH
from djscc.channels.ntn_tdl import PROFILES, TappedDelayLine, flat_equivalent, taps

RATE = 2e6


def gaussian(count, seed=0, power=1.0):
    parts = np.random.default_rng(seed).standard_normal((2, count)) * np.sqrt(power / 2)
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def through(channel, samples, sizes):
    parts, start, turn = [], 0, 0
    while start < len(samples):
        size = sizes[turn % len(sizes)]
        parts.append(channel.push(samples[start : start + size]))
        start, turn = start + size, turn + 1
    return np.concatenate([*parts, channel.flush()])


@pytest.mark.parametrize("name", presets())
def test_output_is_independent_of_chunking(name):
    """Equal to float32 rounding; where a converter follows, a rounding may move 1 sample in 1,000 by one level."""
    if name.startswith("leo"):
        pytest.importorskip("itur")
    samples = gaussian(40_000)
    whole, *others = [
        through(SampleChannel(load_channel(name), RATE, 2, 1.0, seed=7), samples, sizes)
        for sizes in ([len(samples)], [1, 4096, 17], [1000, 3], [8192])
    ]
    for other in others:
        assert len(other) == len(whole)
        off = np.abs(other - whole) > 2e-6
        assert np.mean(off) < (1e-3 if name == "bench-pluto" else 1e-12)
        assert np.abs(other - whole).max() < 5e-3


def test_seed_decides_everything():
    channel = load_channel("bench-pluto")
    first, same, other = (
        through(SampleChannel(channel, RATE, 2, 1.0, seed), gaussian(5000), [5000]) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, same)
    assert np.mean(np.abs(first - other) ** 2) > 0.01


def test_input_is_left_alone():
    samples = gaussian(1000)
    copy = samples.copy()
    SampleChannel(load_channel("awgn").replace(gain_db=6), RATE, 2, 1.0).push(samples)
    assert np.array_equal(samples, copy)


@pytest.mark.parametrize("samples_per_symbol", [1, 2, 4])
@pytest.mark.parametrize("snr_db", [-3.0, 10.0])
def test_snr_is_es_over_n0_at_the_matched_filter(samples_per_symbol, snr_db):
    """Noise power after the matched filter within 5 standard errors of 50,000 symbols: 6e-7."""
    count = 50_000
    symbols = gaussian(count, seed=2)
    pulse = np.full(samples_per_symbol, samples_per_symbol**-0.5, np.float32)
    samples = np.kron(symbols, pulse).astype(np.complex64) * 3
    channel = load_channel("awgn").replace(snr_db=snr_db, gain_db=-20)
    power = 9 / samples_per_symbol
    received = SampleChannel(channel, RATE, samples_per_symbol, power).push(samples).reshape(count, -1) @ pulse / 0.3
    noise = np.mean(np.abs(received - symbols) ** 2)
    assert noise == pytest.approx(10 ** (-snr_db / 10), rel=5 / np.sqrt(count))


@pytest.mark.parametrize("frequency", [0.0, 0.05, -0.2, 0.3125])
@pytest.mark.parametrize(("delay", "ppm"), [(0.5, 0.0), (100.3, 25.0), (3.75, -40.0), (0.0, 1000.0)])
def test_delay_and_clock(frequency, delay, ppm):
    """A tone comes out late and stretched, to -75 dB up to the band edge of 2 samples a symbol with roll-off 0.25."""
    tone = np.exp(2j * np.pi * frequency * np.arange(60_000)).astype(np.complex64)
    channel = SampleChannel(load_channel({"delay_samples": delay, "clock_ppm": ppm}), RATE, 2, 1.0)
    out = through(channel, tone, [4096])
    place = np.arange(len(out)) * (1 + ppm * 1e-6) - delay
    inside = (place > 2 * REACH) & (place < len(tone) - 2 * REACH)
    error = out - np.exp(2j * np.pi * frequency * place)
    assert 10 * np.log10(np.mean(np.abs(error[inside]) ** 2)) < -75
    silent = (place < -REACH) | (place > len(tone) + REACH)
    assert not np.any(out[silent])
    assert place[-1] > len(tone) + REACH - 2


def test_carrier_offset_and_changes_on_the_way():
    n = 50_000
    ones = np.ones(n, np.complex64)
    channel = SampleChannel(load_channel({"cfo_hz": -12_345.0}), RATE, 2, 1.0)
    before = channel.push(ones)
    assert np.abs(before - np.exp(-2j * np.pi * 12_345.0 / RATE * np.arange(n))).max() < 1e-6
    channel.change(cfo_hz=20_000.0)
    after = channel.push(ones)
    assert np.abs(after - np.exp(2j * np.pi * (20_000.0 * np.arange(n) - 12_345.0 * n) / RATE)).max() < 1e-6
    channel.change(snr_db=0.0, cfo_hz=0.0)
    assert np.var(channel.push(ones)) == pytest.approx(2.0, rel=5 / np.sqrt(n))  # 6e-7
    assert (channel.description.snr_db, channel.description.cfo_hz) == (0.0, 0.0)


@pytest.mark.parametrize("profile", "ABCD")
def test_ntn_tdl_profile(profile):
    """Power over delay within 5 standard errors of 40 seeds at each of 40 places: 4e-4; moments as the standard has them."""
    fading = NtnTdl(profile=profile, delay_spread_ns=1000.0, doppler_hz=20.0)
    rows = taps(fading)
    shares = np.array([share for _, share, _ in rows])
    delays = np.array([delay for delay, _, _ in rows])
    assert shares.sum() == pytest.approx(1)
    spread = np.sqrt(shares @ delays**2 - (shares @ delays) ** 2)
    assert spread == pytest.approx(1e-6, rel=0.01)  # the tables are normalised to a delay spread of 1

    impulses = np.zeros(50 * 64, np.complex64)
    impulses[16::64] = 1
    measured = []
    for seed in range(40):
        line = TappedDelayLine(fading, RATE, seed)
        response = np.concatenate([line.push(impulses), line.push(np.zeros(64, np.complex64))])[: len(impulses)]
        measured.append(np.mean(np.abs(response.reshape(-1, 64)) ** 2, 0))
    mean, error = np.mean(measured, 0), np.std(measured, 0, ddof=1) / np.sqrt(40)
    place = np.arange(64) - 16
    expected = np.zeros(64)
    for delay, share, _ in rows:
        distance = place - delay * RATE
        window = np.i0(8 * np.sqrt(np.clip(1 - (distance / 12) ** 2, 0, None))) / np.i0(8)
        expected += share * (np.sinc(distance) * window) ** 2
    strong = expected > 1e-4
    assert np.all(np.abs(mean - expected)[strong] < 5 * error[strong] + 0.01 * expected[strong])
    assert np.sum(mean[~strong]) < 2e-3


@pytest.mark.parametrize(("profile", "k_db"), [("C", 10.224), ("D", 11.707)])
def test_ntn_tdl_line_of_sight(profile, k_db):
    first = taps(NtnTdl(profile=profile))[0]
    assert first[2] == pytest.approx(k_db, abs=1e-9)
    scatter = sum(10 ** (tap[1] / 10) for tap in PROFILES[profile])
    assert flat_equivalent(NtnTdl(profile=profile)).k_db == pytest.approx(
        PROFILES[profile][0][2] - 10 * np.log10(scatter)
    )
